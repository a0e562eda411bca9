#!/bin/sh
# Everything that has to hold on a GPU, in at most eight minutes beside the installation; the figures go to benchmarks/results-gpu.
#
#   benchmarks/gpu_check.sh                             # installs into ./.venv-gpu, then runs the check
#   benchmarks/gpu_check.sh --no-install                # with the python on the path (PYTHON=… names another)
#   benchmarks/gpu_check.sh --no-install --device cpu --small
#
# Other options are those of `python -m benchmarks.gpu_check`. Without a GPU: one line, exit code 2.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
install=yes
if [ "${1:-}" = --no-install ]; then
    install=no
    shift
fi
case " $* " in
*" --device cpu "*) ;;
*)
    if ! nvidia-smi -L >/dev/null 2>&1; then
        echo "gpu_check: this machine has no NVIDIA GPU (nvidia-smi finds none); --device cpu --small tries the check without one" >&2
        exit 2
    fi
    ;;
esac
if [ "$install" = yes ]; then
    "$python" -m venv .venv-gpu
    python=.venv-gpu/bin/python
    "$python" -m pip install --quiet --constraint constraints.txt -e '.[gpu,dev]' || "$python" -m pip install --quiet -e '.[gpu,dev]'
fi
exec "$python" -m benchmarks.gpu_check "$@"
