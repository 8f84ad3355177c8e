"""A trace of two iterations of a small network on a GPU, as PyTorch's profiler and as Nsight Systems write it.

Net has one Linear, a ReLU and one kernel that no operator launches. Per iteration, in microseconds: gemm 40 (two
kernels, 30 and 10), relu 6, the stray one 4: 50 of kernels.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

GEMM = "ampere_sgemm_32x32_sliced1x4_tn"
SPLIT = "void cublasLt::splitKreduce_kernel<32, 16, int, float>"
RELU = "void at::native::vectorized_elementwise_kernel<4, at::native::relu>"
STRAY = "my_stray_kernel"
ITERATION = 1000.0


def events() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    def add(
        cat: str, name: str, ts: float, dur: float, tid: int = 7, pid: int = 100, **args: Any
    ) -> None:
        args = {name.replace("_", " "): value for name, value in args.items()}
        found.append(
            {
                "ph": "X",
                "cat": cat,
                "name": name,
                "pid": pid,
                "tid": tid,
                "ts": ts,
                "dur": dur,
                "args": args,
            }
        )

    # What is outside the steps belongs to no inference.
    add("cpu_op", "aten::randn", 10, 5, External_id=900)
    add("cuda_runtime", "cudaLaunchKernel", 11, 1, External_id=900, correlation=9000)
    add(
        "kernel",
        "void distribution_kernel",
        20,
        500,
        tid=3,
        pid=0,
        External_id=900,
        correlation=9000,
        stream=3,
    )
    for i in range(2):
        t, c = 2000 + ITERATION * i, 100 * (i + 1)
        add("user_annotation", f"ProfilerStep#{i + 3}", t, 900)
        add("gpu_user_annotation", f"ProfilerStep#{i + 3}", t, 900, pid=0)
        add("python_function", "nn.Module: Net_0", t + 1, 300)
        add("python_function", "nn.Module: Linear_0", t + 2, 100)
        add(
            "cpu_op",
            "aten::linear",
            t + 3,
            90,
            External_id=c + 1,
            Input_Dims=[[4, 32], [16, 32], [16]],
        )
        add(
            "cpu_op",
            "aten::addmm",
            t + 5,
            80,
            External_id=c + 2,
            Input_Dims=[[16], [4, 32], [32, 16], [], []],
        )
        add("cuda_runtime", "cudaLaunchKernel", t + 10, 5, External_id=c + 2, correlation=c + 20)
        add("cuda_driver", "cuLaunchKernelEx", t + 20, 5, External_id=c + 2, correlation=c + 21)
        add("cpu_op", "aten::relu", t + 120, 20, External_id=c + 3, Input_Dims=[[4, 16]])
        add("cuda_runtime", "cudaLaunchKernel", t + 125, 5, External_id=c + 3, correlation=c + 22)
        add("cuda_runtime", "cudaLaunchKernel", t + 320, 5, correlation=c + 23)
        for k, (name, dur) in enumerate(((GEMM, 30), (SPLIT, 10), (RELU, 6), (STRAY, 4))):
            external = {} if name == STRAY else {"External_id": c + (2 if k < 2 else 3)}
            add(
                "kernel",
                name,
                t + 200 + 50 * k,
                dur,
                tid=3,
                pid=0,
                correlation=c + 20 + k,
                stream=3,
                **external,
            )
    found.append(
        {
            "ph": "f",
            "cat": "ac2g",
            "name": "ac2g",
            "id": 120,
            "pid": 0,
            "tid": 3,
            "ts": 2200,
            "bp": "e",
        }
    )
    found.append({"ph": "M", "name": "process_name", "pid": 0, "ts": 0, "args": {"name": "python"}})
    return found


def nsys(path: Path, *, nvtx: bool = True) -> Path:
    """The same as an export of Nsight Systems; times in ns, the process in the upper bits of a global id."""
    process, thread = 100 << 24, 100 << 24 | 7
    base = sqlite3.connect(path)
    base.executescript(
        """
        CREATE TABLE StringIds (id INTEGER PRIMARY KEY, value TEXT NOT NULL);
        CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start INT, end INT, deviceId INT, contextId INT, streamId INT,
            correlationId INT, globalPid INT, demangledName INT, shortName INT, gridX INT, blockX INT);
        CREATE TABLE CUPTI_ACTIVITY_KIND_RUNTIME (start INT, end INT, eventClass INT, globalTid INT,
            correlationId INT, nameId INT, returnValue INT);
        CREATE TABLE CUPTI_ACTIVITY_KIND_MEMCPY (start INT, end INT, deviceId INT, streamId INT, correlationId INT,
            globalPid INT, bytes INT, copyKind INT);
        CREATE TABLE NVTX_EVENTS (start INT, end INT, eventType INT, rangeId INT, category INT, color INT, text TEXT,
            globalTid INT, endGlobalTid INT, textId INT, domainId INT);
        """
    )
    names = [GEMM, SPLIT, RELU, STRAY, "cudaLaunchKernel_v7000", "void distribution_kernel"]
    base.executemany("INSERT INTO StringIds VALUES (?, ?)", enumerate(names, 1))
    known: dict[str, int] = {name: i for i, name in enumerate(names, 1)}
    for event in events():
        if event.get("cat") is None or event["ph"] != "X":
            continue
        start = int(event["ts"] * 1000)
        end = start + int(event["dur"] * 1000)
        given = event["args"]
        if event["cat"] == "kernel":
            row = (
                start,
                end,
                0,
                1,
                7,
                given["correlation"],
                process,
                known[event["name"]],
                known[event["name"]],
                1,
                1,
            )
            base.execute(
                f"INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES ({','.join('?' * 11)})", row
            )
        elif event["cat"] in ("cuda_runtime", "cuda_driver"):
            row7 = (start, end, 0, thread, given["correlation"], 5, 0)
            base.execute("INSERT INTO CUPTI_ACTIVITY_KIND_RUNTIME VALUES (?,?,?,?,?,?,?)", row7)
        elif nvtx and event["cat"] in ("cpu_op", "user_annotation", "python_function"):
            text = event["name"].removeprefix("nn.Module: ").removesuffix("_0")
            if event["cat"] == "cpu_op":
                text = (
                    f"{text}, op_id = {given['External id']}, sizes = {given.get('Input Dims', [])}"
                )
            base.execute(
                "INSERT INTO NVTX_EVENTS VALUES (?, ?, 59, NULL, 0, 0, ?, ?, NULL, NULL, 0)",
                (start, end, text, thread),
            )
    # Another process has the same correlation ids.
    base.execute(
        "INSERT INTO CUPTI_ACTIVITY_KIND_RUNTIME VALUES (2120000, 2121000, 0, ?, 123, 5, 0)",
        (200 << 24 | 7,),
    )
    base.commit()
    base.close()
    return path
