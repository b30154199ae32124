#!/usr/bin/env bash
# Simulate visit 903334, detector 22 (once), reduce it, compare the result with the truth.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin

"$bin/isr-repo" simulate demo/data --visit 903334 --detectors 22 --truth
"$bin/isr-run" demo/data/raw/HSCA90333427.fits --calibs demo/data -o demo/output --quicklook --overwrite
"$bin/python" tools/compare_with_truth.py \
    demo/output/postISRCCD_HSC_HSC-R_HSCA90333400_0_27.fits demo/data/truth/truth_903334_22.fits
