#!/bin/bash
systemd-run --unit=isr-lease-0 --on-active=@LEASE_SECONDS@ --timer-property=AccuracySec=1s /sbin/shutdown -h now || /sbin/shutdown -h +@LEASE_MINUTES@
# The line above ends this machine when the lease is over, whatever happens below. Any end of this
# script ends it, too; InstanceInitiatedShutdownBehavior makes that a termination.
set -u -o pipefail
trap '/sbin/shutdown -h now' EXIT

mkdir -p /run/isr /var/lib/isr
chown 10001:10001 /run/isr /var/lib/isr

# After a reboot there is no timer and no container, and this script does not run again: that boot ends
# the machine, too. /run is empty then.
cat > /etc/systemd/system/isr-reboot.service << 'END' || exit
[Unit]
Description=End of a machine that was booted again
ConditionPathExists=!/run/isr
[Service]
Type=oneshot
ExecStart=/sbin/shutdown -h now
[Install]
WantedBy=multi-user.target
END
systemctl enable isr-reboot.service || exit

# The container writes here until when the lease was extended.
follow_lease() {
    local armed=0 until seconds
    while sleep 5; do
        until=$(cat /run/isr/lease-until 2>/dev/null) || continue
        [[ $until =~ ^[0-9]{10}$ && $until != "$armed" ]] || continue
        seconds=$((until - $(date +%s)))
        ((seconds > 0 && seconds <= @LONGEST_LEASE@)) || continue
        systemd-run --unit="isr-lease-$until" --on-active="$seconds" --timer-property=AccuracySec=1s \
            /sbin/shutdown -h now || continue
        systemctl stop "isr-lease-$armed.timer"
        /sbin/shutdown -c # what the first line may have armed instead
        armed=$until
    done
}
follow_lease &

again() { # again COMMAND: registries and mirrors have bad moments
    local pause
    for pause in 2 8 30; do
        "$@" && return
        sleep "$pause"
    done
    "$@"
}

log_in() {
    aws ecr get-login-password --region @REGION@ | docker login --username AWS --password-stdin @REGISTRY@
}

command -v docker || again dnf install -y docker || exit
systemctl start docker || exit
if [[ -n @ECR@ ]]; then again log_in || exit; fi
again docker pull @IMAGE@ || exit

instance=$(cat /var/lib/cloud/data/instance-id || hostname)
docker run --rm --name isr --network host --read-only --tmpfs /tmp:mode=1777,size=1g \
    --cap-drop ALL --security-opt no-new-privileges --user 10001:10001 --ulimit nofile=65536:65536 \
    -v /run/isr:/run/isr -v /var/lib/isr:/scratch \
    -e AWS_REGION=@REGION@ -e AWS_DEFAULT_REGION=@REGION@ -e DASK_TEMPORARY_DIRECTORY=/scratch -e TMPDIR=/scratch \
    --log-driver awslogs --log-opt awslogs-region=@REGION@ --log-opt awslogs-group=@LOG_GROUP@ \
    --log-opt awslogs-stream=@LOG_STREAM@"$instance" \
    @IMAGE@ node @ARGUMENTS@
