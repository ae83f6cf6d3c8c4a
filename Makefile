# Two commands do everything: `make demo` and `make test`. Everything else is Meson's (see README.md).
.POSIX:
.PHONY: build demo test install clean

build:
	@.ci/deps
	@[ -d build ] || meson setup build
	@ninja -C build

demo: build
	@docs/demo.sh build/tools/kray

test:
	@.ci/deps tests
	@tests/run.sh

install: build
	meson install -C build

clean:
	rm -rf build build-asan demo
