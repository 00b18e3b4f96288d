"""The Zephyr module's CMake, over stand-ins for the functions of Zephyr that it calls: Zephyr itself is not here."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from converted import INPUTS, module, stream

import edgekit
from edgekit.learn import Learning
from edgekit.learn.flash import RamFlash
from edgekit.learn.journal import Journal

MODULE = Path(__file__).parent.parent.parent / "examples" / "zephyr" / "module"
STAND_INS = """
cmake_minimum_required(VERSION 3.20.0)
project(application C)
set(APPLICATION_SOURCE_DIR ${CMAKE_CURRENT_SOURCE_DIR})
set(CONFIG_EDGEKIT %(enabled)s)
set(CONFIG_EDGEKIT_ARTIFACT "%(artifact)s")
add_library(zephyr_interface INTERFACE)
macro(zephyr_library_named name)
  add_library(${name} STATIC)
  target_link_libraries(${name} PRIVATE zephyr_interface)
  set(ZEPHYR_CURRENT_LIBRARY ${name})
endmacro()
function(zephyr_library_sources)
  target_sources(${ZEPHYR_CURRENT_LIBRARY} PRIVATE ${ARGN})
endfunction()
function(zephyr_library_include_directories)
  target_include_directories(${ZEPHYR_CURRENT_LIBRARY} PRIVATE ${ARGN})
endfunction()
function(zephyr_library_compile_options)
  target_compile_options(${ZEPHYR_CURRENT_LIBRARY} PRIVATE ${ARGN})
endfunction()
function(zephyr_include_directories)
  target_include_directories(zephyr_interface INTERFACE ${ARGN})
endfunction()
add_subdirectory("%(module)s" edgekit_module)
if(CONFIG_EDGEKIT)
  add_executable(app main.c)
  target_link_libraries(app PRIVATE edgekit zephyr_interface)
endif()
"""
MAIN = """
#include <stdio.h>
#include "edgekit_model.h"
static edgekit_model model;
int main(void) {
    const float raw[INPUTS] = {RAW};
    int8_t x[INPUTS];
    int16_t y[4];
    EK(init)(&model);
    EK(quantize)(&model, raw, x);
    EK(step)(&model, x, y);
    printf("%d %d %d %d\\n", y[0], y[1], y[2], y[3]);
    return 0;
}
"""
LEARNS = """
#include <stdio.h>
#include "edgekit_model.h"
#include "ekj_journal.h"
#include "ekj_ram.h"
static edgekit_model model;
static uint8_t image[6 * 1024];
int main(void) {
    static const uint8_t sha256[32] = EDGEKIT_SHA256;
    const ekj_part parts[] = EK_MACRO(LEARNED)(&model);
    ekj_journal journal;
    ekj_flash flash;
    ekj_ram ram;
    ekj_ram_flash(&flash, &ram, image, 1024u, 6u, 4u);
    EK(init)(&model);
    if (ekj_open(&journal, &flash, sha256, EK_MACRO(LEARNED_BYTES), 1u)) return 1;
    putchar(ekj_load(&journal, parts, EK_MACRO(LEARNED_PARTS)));
    putchar(ekj_commit(&journal, parts, EK_MACRO(LEARNED_PARTS), 1u));
    fwrite(image, 1, sizeof image, stdout);
    return 0;
}
"""


@pytest.fixture
def cmake() -> str:
    """CMake; its absence fails under CI, which installs it."""
    found = shutil.which("cmake")
    if found is None or shutil.which("make") is None:
        if os.environ.get("CI"):
            pytest.fail("cmake is not installed")
        pytest.skip("cmake or make is not installed")
    return found


def configure(cmake: str, folder: Path, artifact: str, enabled: str = "ON") -> subprocess.CompletedProcess[str]:
    """CMake's own run over an application with the module."""
    text = STAND_INS % {"artifact": artifact, "module": MODULE, "enabled": enabled}
    (folder / "CMakeLists.txt").write_text(text)
    command = [cmake, "-S", folder, "-B", folder / "build", "-DCMAKE_BUILD_TYPE=Release"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_an_application_builds_and_computes_what_the_session_does(cmake: str, tmp_path: Path) -> None:
    made = edgekit.convert(module("mlp"), name="net", precision="int8", calib=stream(64))
    made.save(tmp_path / "model.edge")
    raw = stream(1, 9)
    (tmp_path / "main.c").write_text(
        MAIN.replace("INPUTS", str(INPUTS)).replace("RAW", ", ".join(f"{v:.9g}f" for v in raw[0]))
    )
    done = configure(cmake, tmp_path, "model.edge")
    assert done.returncode == 0, done.stderr
    built = subprocess.run([cmake, "--build", tmp_path / "build"], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    printed = subprocess.run([tmp_path / "build" / "app"], capture_output=True, text=True, check=True).stdout
    session = edgekit.load(made)
    (stored,) = session.codec.quantize([raw])
    np.testing.assert_array_equal(np.array(printed.split(), np.int16), session.run(stored, stored=True)[0])


@pytest.mark.slow
def test_a_program_that_learns_brings_its_journal(cmake: str, tmp_path: Path) -> None:
    """Factory weights (7) before a commit and the commit after it, under the SHA-256 of the artifact."""
    learning = Learning("hlop", plastic=("readout",), subspace=(3,))
    made = edgekit.convert(module("mlp"), name="net_B", precision="int8", calib=stream(64), learn=learning)
    made.save(tmp_path / "model.edge")
    (tmp_path / "main.c").write_text(LEARNS)
    done = configure(cmake, tmp_path, "model.edge")
    assert done.returncode == 0, done.stderr
    built = subprocess.run([cmake, "--build", tmp_path / "build"], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    image = subprocess.run([tmp_path / "build" / "app"], capture_output=True, check=True).stdout
    assert image[:2] == bytes([7, 0])
    flash, session = RamFlash(1024, 3 * 2), edgekit.load(made)
    flash.image[:] = image[2:]
    assert Journal(flash, bytes.fromhex(made.sha256), len(session.learned())).load() == session.learned()


def test_a_missing_artifact_is_named(cmake: str, tmp_path: Path) -> None:
    (tmp_path / "main.c").write_text("int main(void) { return 0; }\n")
    for artifact, says in (("", "CONFIG_EDGEKIT_ARTIFACT is empty"), ("nowhere.edge", "nowhere.edge")):
        done = configure(cmake, tmp_path, artifact)
        assert done.returncode != 0
        assert says in " ".join(done.stderr.split())


def test_without_the_option_nothing_is_built(cmake: str, tmp_path: Path) -> None:
    assert configure(cmake, tmp_path, "nowhere.edge", "OFF").returncode == 0


def test_kconfig_declares_what_cmake_reads() -> None:
    kconfig, script = (MODULE / "Kconfig").read_text(), (MODULE / "CMakeLists.txt").read_text()
    for option in ("EDGEKIT", "EDGEKIT_ARTIFACT"):
        assert f"config {option}\n" in kconfig
        assert f"CONFIG_{option}" in script
