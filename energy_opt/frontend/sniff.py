"""What a file that is not an ONNX model is instead, and what to do about it."""

from __future__ import annotations

from typing import Final

_GIVE = "give the .onnx file"
_UNPACK = "unpack it and give the .onnx file in it"
_EXPORT = "export it to ONNX first"
_TORCH = (
    "give what makes its module (python:package.module:callable, or in Python energy_opt.load(module, inputs)), "
    "or export it to ONNX (torch.onnx.export)"
)
_TF2ONNX = f"{_EXPORT}, for example with tf2onnx"
_LFS: Final = b"version https://git-lfs.github.com/spec/"

# Beginnings that no ONNX model has.
_MAGIC: Final[tuple[tuple[bytes, str], ...]] = (
    (b"GGUF", f"a GGUF file (llama.cpp), not an ONNX model; {_EXPORT} from the original weights"),
    (b"\x89HDF\r\n\x1a\n", f"an HDF5 file (Keras .h5), not an ONNX model; {_TF2ONNX}"),
    (b"\x1f\x8b\x08", f"a gzip file; {_UNPACK}"),
    (b"7z\xbc\xaf\x27\x1c", f"a 7z archive; {_UNPACK}"),
    (b"\xfd7zXZ\x00", f"an xz file; {_UNPACK}"),
    (b"\x28\xb5\x2f\xfd", f"a zstd file; {_UNPACK}"),
    (b"BZh", f"a bzip2 file; {_UNPACK}"),
    (b"\x93NUMPY", f"a NumPy array, not a model; {_GIVE}"),
    (b"\x7fELF", f"a program (ELF), not a model; {_GIVE}"),
    (b"%PDF", f"a PDF document, not a model; {_GIVE}"),
    (b"ptrt", f"a TensorRT engine, compiled for one device; {_GIVE} it was built from"),
    (b"ftrt", f"a TensorRT engine, compiled for one device; {_GIVE} it was built from"),
)
_PICKLES: Final = tuple(b"\x80" + bytes([protocol]) for protocol in (2, 3, 4, 5))


def file_type(head: bytes) -> str | None:
    """What a file is whose beginning no ONNX model has, with advice; None if it may be a model."""
    for magic, text in _MAGIC:
        if head.startswith(magic):
            return text
    if head.startswith(_LFS):
        pointer = f"a git-lfs pointer, not the model itself{_lfs_size(head)}"
        return f"{pointer}: run `git lfs pull` and try again"
    if head.startswith(b"PK\x03\x04"):
        return _zip(head)
    if head.startswith(_PICKLES):
        return f"a Python pickle, perhaps an old PyTorch .pt file; {_TORCH}"
    if head[2:4] == b"\0\0" and head[4:8] == b"TFL3":
        return f"a TensorFlow Lite model, not an ONNX model; {_TF2ONNX} --tflite"
    if head[2:4] == b"\0\0" and head[4:8] == b"ORTM":
        return f"an ONNX Runtime .ort model; {_GIVE} that it was converted from"
    if head[4:8] == b"\0\0\0\0" and head[8:10] in (b'{"', b"{ "):
        return f"a safetensors file, weights without a graph; {_GIVE}, or the model's config.json"
    return None


def suspicion(head: bytes) -> str | None:
    """What a file probably is that could not be read as a model, with advice; None if unclear."""
    text = _as_text(head)
    if text is not None:
        return _text_type(text)
    if head.startswith(b"\x08\x01\x12") and b"serve" in head:
        return f"a TensorFlow SavedModel, not an ONNX model; {_TF2ONNX}"
    return None


def _as_text(head: bytes) -> str | None:
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = head.decode("utf-16", "replace")
    else:
        text = head.decode("utf-8-sig", "ignore")
        # What "ignore" may drop is a character that the end of `head` splits, and the mark before it.
        if len(text.encode()) < len(head) - 6:
            return None
    is_text = all(char.isprintable() or char in "\t\n\r\f" for char in text)
    return text if is_text and text.strip() else None


def _text_type(text: str) -> str:
    text = text.lstrip()
    lower = text.lower()
    if lower.startswith(("<!doctype html", "<html")):
        return "a web page, an error or login page perhaps, not the model; download it again"
    if lower.startswith("<?xml"):
        return f"an XML file (OpenVINO?), not an ONNX model; {_GIVE} it was made from"
    if text.startswith("{"):
        if '"model_type"' in text or '"architectures"' in text:
            return "a transformers configuration; name the file config.json to have it read as one"
        return f"a JSON file, not an ONNX model; {_GIVE}, or convert ONNX as JSON to it first"
    if text.startswith("<") and "ir_version" in lower:
        return "ONNX in its text form; convert it with onnx.parser.parse_model and onnx.save"
    if "ir_version:" in lower or lower.startswith(("producer_name:", "opset_import")):
        return "ONNX as protobuf text; convert it with onnx.load(format='textproto') and onnx.save"
    return f"a text file, not an ONNX model; {_GIVE}"


def _zip(head: bytes) -> str:
    if b"/archive_format" in head or b"/data/weights/" in head:
        return (
            "a program saved by torch.export (.pt2), not an ONNX model; "
            "load it in Python: energy_opt.load(torch.export.load(FILE))"
        )
    if any(name in head for name in (b"data.pkl", b"constants.pkl", b"/version")):
        return f"a PyTorch file (.pt), not an ONNX model; {_TORCH}"
    if b".npy" in head:
        return f"a NumPy archive (.npz), not a model; {_GIVE}"
    if b"metadata.json" in head or b"model.weights.h5" in head:
        return f"a Keras file (.keras), not an ONNX model; {_TF2ONNX}"
    return f"a zip archive; {_UNPACK}"


def _lfs_size(head: bytes) -> str:
    size = head.partition(b"\nsize ")[2].split(b"\n")[0].strip()
    return f" (which has {int(size):,} bytes)" if size.isdigit() and len(size) < 20 else ""
