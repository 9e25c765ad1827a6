# make demo | test | check | bench: each does its own set-up. Needs Debian 12 (or similar), Python 3.10-3.13 and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT := out/demo
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

# What a bare Debian lacks: venv, the two libraries that OpenCV's wheel links, fonts for every label.
DEBIAN := python3-venv libgl1 libglib2.0-0 libfribidi0 fonts-noto-core fonts-noto-cjk

# The tests' stand-ins for NVIDIA's libraries are compiled; the bindings themselves come as wheels.
DEBIAN_TEST := gcc libc6-dev
DEBIAN_PYCUDA := $(DEBIAN_TEST) g++
# Virtual screens, a browser, GStreamer for the screen without a desktop, encoders. Debian's
# prometheus would start by itself, so that only MORE=prometheus brings it, for its test.
DEBIAN_LIVE := $(DEBIAN_TEST) procps libdrm-dev linux-libc-dev xvfb chromium python3-gi gir1.2-gstreamer-1.0 \
	gir1.2-gst-plugins-base-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-bad \
	gstreamer1.0-plugins-ugly gstreamer1.0-tools ffmpeg $(MORE)
GENUINE := .genuine/.ready

.PHONY: help demo test check bench files test-train test-openvino test-pycuda test-build check-wheels \
	contract-refresh test-live test-vm test-nspawn bundle system system-nspawn system-test system-live system-pycuda setup clean

help:
	@echo "make demo              set up, run the camera loop on the phantom camera, analyze one still: out/demo/"
	@echo "make test              set up, run the tests"
	@echo "make check             ruff, mypy, import rules, oldest Python"
	@echo "make files             docs/files.md anew, from the first lines of the modules"
	@echo "make bench             speed and memory tables (run on a quiet machine)"
	@echo "make test-train        the tests that need torch, in an environment of their own"
	@echo "make test-openvino     the tests that need OpenVINO, in an environment of their own"
	@echo "make test-pycuda       build the genuine pycuda (a minute), run the tests that need it"
	@echo "make test-build        the released pack built in every precision, on stand-ins (minutes)"
	@echo "make test-live         screens, web page, buttons, recording and GStreamer, with the system's parts that they need"
	@echo "make test-vm           cameras, screens, power cuts on virtual machines: tests/vm/README.md (root)"
	@echo "make test-nspawn       units and installation under a systemd in a container (root)"
	@echo "make bundle            all that a device needs to install dermedge without a network: docs/service.md"
	@echo "make contract-refresh  TensorRT's stubs anew from NVIDIA's wheels; fails on a difference"

demo: setup
	@rm -rf $(OUT) && mkdir -p $(OUT)
	$(BIN)/dermedge run --source "synthetic:7?size=1280x720" --seconds 20 \
		--sink video:$(OUT)/camera.webm --sink jsonl:$(OUT)/camera.jsonl --sink 'png:$(OUT)/camera?every=10'
	$(BIN)/dermedge-models phantom --seed 21 --size 1280x960 --lesions 4 --domain clinical --out $(OUT)/still.png
	$(BIN)/dermedge analyze $(OUT)/still.png --out $(OUT) --verbose
	@echo "Look at $(OUT)/camera.webm, $(OUT)/camera/*.png and $(OUT)/still.png.overlay.png"

# Side by side, one for each core: some look at a camera loop that runs in real time.
JOBS ?= $(shell n=$$(nproc); echo $$((n > 8 ? 8 : n)))
test: setup system-test $(GENUINE)
	$(BIN)/python -m pytest -q --numprocesses $(JOBS) --dist loadfile

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/vermin --quiet --target=3.10- --no-tips --violations edge convert models

files: setup
	$(BIN)/python tests/file_map_for_tests.py

bench: setup
	$(BIN)/python -m benchmarks.startup
	$(BIN)/python -m benchmarks.pipeline --check
	$(BIN)/python -m benchmarks.overlay --check
	$(BIN)/python -m benchmarks.decomposition --check
	$(BIN)/python -m benchmarks.memory
	$(BIN)/python -m benchmarks.tracking
	$(BIN)/python -m benchmarks.live --minutes 10 --check
	$(BIN)/python -m benchmarks.camera_decode
	$(BIN)/python -m benchmarks.recording
	$(BIN)/python -m benchmarks.cpu_engines

# Torch is for training only. The CPU build by name: a plain torch may bring gigabytes of CUDA.
TORCH ?= torch==2.13.0+cpu
test-train:
	@test -x .venv-train/bin/python || $(PYTHON) -m venv .venv-train
	.venv-train/bin/python -m pip --quiet --disable-pip-version-check install \
		-c constraints.txt -e '.[desktop,dev]' '$(TORCH)'
	.venv-train/bin/python -m pytest -q tests/train tests/test_named_commands.py

# Without OpenVINO the tests skip what needs it, so that it must load first.
test-openvino:
	@test -x .venv-openvino/bin/python || $(PYTHON) -m venv .venv-openvino
	.venv-openvino/bin/python -m pip --quiet --disable-pip-version-check install \
		-c constraints.txt -e '.[desktop,dev,openvino]'
	.venv-openvino/bin/python -c 'from edge.engines.openvino import import_openvino; import_openvino()'
	.venv-openvino/bin/python -m pytest -q tests/edge/engines tests/edge/test_compose.py \
		tests/edge/test_imports.py

# What needs a virtual screen, a browser, GStreamer or ffmpeg is skipped in make test where that is missing.
test-live: setup system-live
	$(BIN)/python -m pytest -q tests/edge/screens tests/edge/inputs tests/edge/recording tests/edge/telemetry \
		tests/edge/sources/test_argus.py

# The released pack in every precision through the whole of convert, on the stand-ins.
test-build: setup system-test $(GENUINE)
	$(BIN)/python -m pytest -q -m slow

# About two hours, and a kernel to build the first time.
test-vm: setup system-test $(GENUINE)
	$(BIN)/python -m tests.vm.build
	DERMEDGE_VM_REPORT=docs/vm-report.md $(BIN)/python -m pytest -q -m 'vm or nspawn' tests/vm

test-nspawn: setup system-nspawn
	$(BIN)/python -m tests.vm.build small
	$(BIN)/python -m pytest -q -m nspawn tests/vm

# Everything that a device needs to install dermedge without a network, in one file:
#   make bundle                                              for a machine like this one
#   make bundle ARCH=aarch64 PY=3.13 EXTRAS=pi,web           for a Raspberry Pi
#   make bundle ARCH=aarch64 PY=3.10 EXTRAS=cuda,web CONSTRAINTS=docs/constraints/jetpack-6.txt
#   make bundle ARCH=aarch64 PY=3.11 EXTRAS=pi,web CONSTRAINTS=docs/constraints/pi-bookworm.txt
# pip resolves versions, but evaluates markers for the Python that runs it: .ci/fill_bundle.py
# evaluates them for the device's, brings what is missing and proves that nothing is.
EXTRAS ?= desktop,web
CONSTRAINTS ?= constraints.txt
GLIBCS := manylinux_2_34 manylinux_2_31 manylinux_2_28 manylinux_2_27 manylinux_2_26 manylinux_2_17 manylinux2014
FOR = $(if $(ARCH),--implementation cp --python-version $(PY) $(foreach glibc,$(GLIBCS),--platform $(glibc)_$(ARCH)))
BUNDLE := dist/dermedge-bundle
FILL = $(BIN)/python .ci/fill_bundle.py $(BUNDLE)/wheels $(if $(ARCH),--python $(PY) --machine $(ARCH)) \
	--extras "$(EXTRAS)" --constraint $(CONSTRAINTS) --pip="$(FOR)"
bundle: setup
	@rm -rf build $(BUNDLE) && mkdir -p $(BUNDLE)/wheels
	$(PIP) wheel --no-deps --wheel-dir $(BUNDLE)/wheels .
	@$(FILL) --write-constraints
	$(BIN)/python -m pip --disable-pip-version-check download -qq --only-binary=:all: \
		--dest $(BUNDLE)/wheels --constraint $(BUNDLE)/wheels/constraints.txt $(FOR) \
		pip "$$(ls $(BUNDLE)/wheels/dermedge-*.whl)[$(EXTRAS)]"
	$(FILL)
	@cp systemd/install $(BUNDLE)
	@cp -r docs $(BUNDLE)/docs
	@tar -C dist -czf $(BUNDLE).part dermedge-bundle && mv $(BUNDLE).part $(BUNDLE).tar.gz && ls -lh $(BUNDLE).tar.gz

check-wheels: setup
	$(BIN)/python .ci/check_wheels.py

# NVIDIA's own Python modules, a megabyte or so each, checked by hash; nothing of them is committed.
$(GENUINE): $(VENV)/.ready tests/genuine_for_tests.py tests/genuine_wheels.txt
	$(BIN)/python tests/genuine_for_tests.py
	@touch $@

# From its source, against the stand-in of libcuda: without CUDA and without a GPU.
test-pycuda: setup system-pycuda $(GENUINE)
	$(BIN)/python tests/pycuda_for_tests.py
	$(BIN)/python -m pytest -q -m pycuda

contract-refresh: setup system-test $(GENUINE)
	$(BIN)/python tests/contract/dump_stub.py

setup: system $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -c constraints.txt -e '.[desktop,dev]'
	@touch $@

# Root installs what is missing; anybody else is told the one line to type. Never sudo.
system-test: DEBIAN += $(DEBIAN_TEST)
system-pycuda: DEBIAN += $(DEBIAN_PYCUDA)
system-nspawn: DEBIAN += mmdebstrap systemd-container e2fsprogs
system-live: DEBIAN += $(DEBIAN_LIVE)
system system-test system-live system-pycuda system-nspawn:
	@command -v dpkg-query >/dev/null || exit 0; missing=""; \
	for package in $(DEBIAN); do \
		if [ $$package = python3-venv ] && $(PYTHON) -c 'import ensurepip' 2>/dev/null; then continue; fi; \
		dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$package"; \
	done; \
	[ -z "$$missing" ] && exit 0; \
	if [ "$$(id -u)" = 0 ]; then \
		echo "installing Debian packages:$$missing"; \
		apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $$missing >/dev/null; \
	else \
		echo "expected these Debian packages:$$missing"; echo "type: sudo apt-get install -y --no-install-recommends$$missing"; exit 1; \
	fi

clean:
	rm -rf $(VENV) .venv-train .venv-openvino .genuine out build dist *.egg-info
