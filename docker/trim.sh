#!/usr/bin/env bash
# Remove from the environment FOLDER what no command reads: tests, sources in C, types, debug symbols.
# tools/image_check.sh reduces files and a Butler repository in the image, which shows that it is enough.
set -euo pipefail
packages=$(echo "$1"/lib/python3*/site-packages)

# astropy and LSST's packages import their folders "tests"; they stay.
find "$packages" -type d \( -name tests -o -name test \) \
    -not -path "$packages/lsst/*" -not -path "$packages/astropy/tests" -prune -exec rm -rf {} +
find "$packages" -type f \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.pxi' -o -name '*.a' \
    -o -name '*.h' -o -name '*.hpp' -o -name '*.c' -o -name '*.cc' -o -name '*.cpp' \) -delete
rm -rf "$packages"/sqlalchemy/testing "$packages"/dask/dataframe "$packages"/matplotlib/mpl-data/sample_data

# Arrow's clients of servers, and second copies of its libraries.
rm -f "$packages"/pyarrow/{libarrow_flight,libarrow_python_flight,_flight,libarrow_s3,_s3fs,_pyarrow_cpp_tests}.* \
    "$packages"/pyarrow/lib{arrow,parquet}*.so{,.*.*.*}
rm -rf "$packages"/pyarrow/{include,src}

# matplotlib imports fontTools.agl; nearly all else is for PDF and PostScript.
find "$packages/fontTools" -mindepth 1 -maxdepth 1 -type d -not -name misc -exec rm -rf {} +
rm -f "$packages"/fontTools/misc/*.so

# The services of AWS that this package calls, and those that find credentials; the others are most of botocore.
services='ec2 ecr iam logs pricing s3 scheduler service-quotas signin ssm sso sso-oidc sts'
for folder in "$packages"/botocore/data/*/; do
    [[ " $services " == *" $(basename "$folder") "* ]] || rm -rf "$folder"
done

# Symbols. Wheels with libraries of others (NAME.libs) are left alone: strip breaks what auditwheel has changed.
find "$packages" -type f \( -name '*.so' -o -name '*.so.*' \) -not -path '*.libs/*' -not -path "$packages/numpy/*" \
    -not -path "$packages/PIL/*" -not -path "$packages/psycopg_binary/*" -exec strip --strip-unneeded {} +
