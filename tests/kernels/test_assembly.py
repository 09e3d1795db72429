"""scripts/check-assembly on short texts: sums in registers pass, sums on the stack do not."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "check-assembly"


@pytest.fixture(scope="module")
def script():
    loader = SourceFileLoader("check_assembly", str(SCRIPT))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("check_assembly", loader))
    sys.modules["check_assembly"] = module
    loader.exec_module(module)
    yield module
    del sys.modules["check_assembly"]


def text(*lines: str, name: str = "product") -> str:
    """A function as objdump prints it, its instructions 8 bytes long, from address 0x1000."""
    body = [f"    {0x1000 + 8 * place:x}:\t{line}" for place, line in enumerate(lines)]
    return "\n".join([f"{0x1000:016x} <{name}>:", *body])


ADDS = [f"vfmadd231ps (%rdi),%zmm{8 + k},%zmm{k}" for k in range(4)]  # 0x1008 .. 0x1020 below
GOOD = ["vxorps %xmm0,%xmm0,%xmm0", *ADDS, "add    $0x40,%rdi", "cmp    %rsi,%rdi", "jne    1008 <product+0x8>", "ret"]


def test_sums_in_registers_pass(script):
    (loop,) = script.check(text(*GOOD))
    assert (loop.function, loop.first, loop.last, loop.multiply_adds) == ("product", 0x1008, 0x1038, 4)
    assert not loop.spills
    assert not loop.others


@pytest.mark.parametrize(
    "store",
    [
        "vmovaps %zmm2,0x40(%rsp)",
        "vmovups %zmm3,-0x80(%rsp)",
        "vmovaps %ymm0,(%rsp)",
        "vmovdqa64 %zmm1,0x8(%rsp,%rax,8)",
    ],
)
def test_sums_stored_to_the_stack_fail(script, store):
    lines = [*GOOD[:5], store, *GOOD[5:]]
    (loop,) = script.check(text(*lines))
    assert [f"{one.name} {one.operands}" for one in loop.spills] == [store]


@pytest.mark.parametrize(
    "line",
    ["vmovaps 0x40(%rsp),%zmm9", "vmovups %zmm0,(%rdx)", "vmovups %zmm0,0x40(%rbp)", "mov %rax,0x8(%rsp)",
     "vmovaps %zmm8,0x40(%rsp)\n    1028:\tvmovaps 0x80(%rsp),%zmm8", "vmovss %xmm0,0x8(%rsp)"],
)  # fmt: skip
def test_other_stores_and_loads_pass(script, line):
    loops = script.check(text(*GOOD[:5], line, *GOOD[5:]))
    assert len(loops) == 1
    assert not loops[0].spills


def test_frame_pointers_and_arrays_on_the_stack(script):
    def spills(set_up: str, store: str) -> int:
        (loop,) = script.check(text(set_up, *GOOD[1:5], store, *GOOD[5:]))
        return len(loop.spills)

    assert spills("mov    %rsp,%rbp", "vmovaps %zmm0,-0x40(%rbp)") == 1
    assert spills("mov    %rdi,%rbp", "vmovaps %zmm0,-0x40(%rbp)") == 0
    assert spills("lea    0x40(%rsp),%rax", "vmovaps %zmm0,(%rax)") == 1
    assert spills("lea    0x40(%rdi),%rax", "vmovaps %zmm0,(%rax)") == 0


def test_a_short_loop_over_an_array_of_sums_on_the_stack_fails(script):
    lines = ["lea    (%rsp),%rax", "vmovaps (%rax),%ymm0", "vfmadd231ps (%rdi),%ymm1,%ymm0", "vmovaps %ymm0,(%rax)",
             "add    $0x20,%rax", "cmp    %rax,%rcx", "jne    1008 <product+0x8>", "ret"]  # fmt: skip
    (loop,) = script.check(text(*lines))
    assert len(loop.spills) == 1


def test_only_innermost_loops_count(script):
    # An outer loop may put its sums away when the inner one is done.
    lines = [*GOOD[:-1], "vmovaps %zmm0,(%rsp)", "dec    %rcx", "jne    1000 <product>", "ret"]
    (loop,) = script.check(text(*lines))
    assert loop.first == 0x1008
    assert not loop.spills


def test_gates_pass(script):
    lines = [*GOOD[:5], "vdivps %zmm0,%zmm1,%zmm0", "vmovaps %zmm2,0x40(%rsp)", *GOOD[5:]]
    (loop,) = script.check(text(*lines))
    assert not loop.spills


def test_a_jump_back_into_another_function_is_no_loop(script):
    tail_call = "\n".join([text(*GOOD[:5], "nop"), "0000000000002000 <other>:", "    2000:\tjmp    1008 <product+0x8>"])
    assert script.check(tail_call) == []
    # The same without names, where the unwinding tables say that a function starts at 0x2000.
    unnamed = tail_call.replace("0000000000002000 <other>:\n", "")
    assert len(script.check(unnamed)) == 1
    assert script.check(unnamed, [0x1000, 0x2000]) == []


def test_a_jump_back_from_a_path_of_its_own_is_no_loop(script):
    # What follows ret is reached from before only, and goes back to the end all the same.
    lines = ["je     1030 <product+0x30>", *ADDS, "ret", "vmovaps %zmm0,(%rsp)", "jmp    1008 <product+0x8>"]
    assert script.check(text(*lines)) == []


@pytest.mark.parametrize("name", ["vfmadd213ps", "vfnmadd231ps", "vfmsub132pd", "vdpbf16ps", "vpdpbusd", "vpdpbusds"])
def test_multiply_adds(script, name):
    lines = [line.replace("vfmadd231ps", name) for line in GOOD]
    assert [loop.multiply_adds for loop in script.check(text(*lines))] == [4]


@pytest.mark.parametrize("name", ["vfmadd231ss", "vmulps", "vaddps", "vpmaddwd"])
def test_other_instructions_are_none(script, name):
    assert script.check(text(*[line.replace("vfmadd231ps", name) for line in GOOD])) == []


@pytest.mark.parametrize(("lines", "status"), [(GOOD, 0), ([*GOOD[:5], "vmovaps %zmm0,(%rsp)", *GOOD[5:]], 1)])
def test_command(lines, status):
    done = subprocess.run([sys.executable, SCRIPT, "--text"], input=text(*lines), capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    assert f"1 hot loops, {status} keep sums on the stack" in done.stdout
    assert ("FAIL" in done.stdout) == bool(status)
