#!/usr/bin/env bash
# Simulate visit 903334, detector 22 (once), reduce it, compare the result with the truth;
# then the same detector through a Butler repository.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin
data=demo/repo/data
query="visit=903334 AND detector=22"

echo "== Files: isr-run RAW --calibs DIR -o OUT"
"$bin/isr-repo" simulate "$data" --visit 903334 --detectors 22 --truth
"$bin/isr-run" "$data/raw/HSCA90333427.fits" --calibs "$data" -o demo/output --quicklook --overwrite
"$bin/python" tools/compare_with_truth.py \
    demo/output/postISRCCD_HSC_HSC-R_HSCA90333400_0_27.fits "$data/truth/truth_903334_22.fits"

echo
echo "== Butler: isr-run -b REPO -i INPUTS -o OUTPUT -d QUERY"
"$bin/isr-repo" demo demo/repo --visit 903334 --detectors 22 --log-level WARNING
"$bin/isr-run" -b demo/repo -i HSC/defaults -o u/demo/isr -d "$query"
"$bin/python" tools/compare_with_butler.py \
    demo/output/postISRCCD_HSC_HSC-R_HSCA90333400_0_27.fits demo/repo u/demo/isr

echo
echo "The same with Rubin's own command (into another collection):"
echo "$bin/pipetask run -b demo/repo -i HSC/defaults -o u/demo/pipetask --register-dataset-types \\"
echo "    -t pipeline.task.IsrTask:isr -d \"$query\""
