"""``OnnxParser``, and the network that it fills: of a network only its inputs and outputs show."""

from __future__ import annotations

import os
from typing import Any

import onnx

from . import genuine, graph, messages


class ITensor:
    """An input or output of a network."""

    def __init__(self) -> None:
        raise messages.no_constructor("ITensor")

    @classmethod
    def _of(cls, tensor: graph.Tensor, is_input: bool) -> ITensor:
        self = cls.__new__(cls)
        self._tensor, self._is_input = tensor, is_input
        return self

    @property
    def name(self) -> str:
        return self._tensor.name

    @property
    def dtype(self) -> Any:
        return self._tensor.dtype

    @property
    def shape(self) -> Any:
        return genuine.Dims(self._tensor.shape)

    @property
    def is_network_input(self) -> bool:
        return self._is_input

    @property
    def is_network_output(self) -> bool:
        return not self._is_input


class INetworkDefinition:
    """What was parsed."""

    def __init__(self) -> None:
        raise messages.no_constructor("INetworkDefinition")

    @classmethod
    def _empty(cls, voice: messages.Voice, strongly_typed: bool) -> INetworkDefinition:
        self = cls.__new__(cls)
        self._voice, self._strongly_typed = voice, strongly_typed
        self._model = onnx.ModelProto()
        return self

    @property
    def num_inputs(self) -> int:
        return len(self._model.graph.input)

    @property
    def num_outputs(self) -> int:
        return len(self._model.graph.output)

    @property
    def num_layers(self) -> int:
        return len(self._model.graph.node)

    @property
    def name(self) -> str:
        return self._model.graph.name

    def get_input(self, index: int) -> ITensor | None:
        found = graph.tensors(self._model.graph.input)[index : index + 1]
        return ITensor._of(found[0], True) if found else None

    def get_output(self, index: int) -> ITensor | None:
        found = graph.tensors(self._model.graph.output)[index : index + 1]
        return ITensor._of(found[0], False) if found else None

    def get_flag(self, flag: Any) -> bool:
        return flag.name == "STRONGLY_TYPED" and self._strongly_typed

    def __len__(self) -> int:
        return self.num_layers


class ParserError:
    """Why a model was not taken."""

    def __init__(self) -> None:
        raise messages.no_constructor("ParserError")

    @classmethod
    def _of(cls, code: str, desc: str, refused: graph.Refused | None = None) -> ParserError:
        self = cls.__new__(cls)
        self._code, self._desc, self._refused = getattr(genuine.ErrorCode, code), desc, refused
        return self

    def code(self) -> Any:
        return self._code

    def desc(self) -> str:
        return self._desc

    def file(self) -> str:
        return "ModelImporter.cpp"

    def line(self) -> int:
        return 836

    def func(self) -> str:
        return "parseNode"

    def node(self) -> int:
        return -1 if self._refused is None else self._refused.index

    def node_name(self) -> str:
        return "" if self._refused is None else self._refused.node.name

    def node_operator(self) -> str:
        return "" if self._refused is None else self._refused.node.op_type

    def local_function_stack(self) -> list[str]:
        return []

    def local_function_stack_size(self) -> int:
        return 0

    def __str__(self) -> str:
        return (
            f"In node {self.node()} with name: {self.node_name()} and operator: "
            f"{self.node_operator()} ({self.func()}): {self._code.name}: {self._desc}"
        )


class OnnxParser:
    """Reads a model into a network; what is wrong with it stays in the parser."""

    def __init__(self, network: INetworkDefinition, logger: Any) -> None:
        if not isinstance(network, INetworkDefinition):
            raise TypeError(f"expected INetworkDefinition, got {network!r}")
        self._network, self._voice = network, messages.Voice(logger)
        self._errors: list[ParserError] = []

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> ParserError:
        return self._errors[index]

    def clear_errors(self) -> None:
        self._errors = []

    def parse(self, model: Any, path: str | None = None) -> bool:
        data = bytes(memoryview(model))
        if path is not None and not isinstance(path, str):
            raise TypeError(f"parse(): incompatible function arguments: path={path!r}")
        self._errors = []
        try:
            parsed = onnx.load_model_from_string(data)
        except Exception as error:  # protobuf's own, of several kinds
            return self._fails(
                ParserError._of("MODEL_DESERIALIZE_FAILED", f"Failed to parse ONNX: {error}")
            )
        if not parsed.graph.node:
            return self._fails(
                ParserError._of("MODEL_DESERIALIZE_FAILED", "Failed to parse the ONNX model.")
            )
        external = self._load_external_data(parsed, path)
        if external is not None:
            return self._fails(external)
        found = list(graph.refused(parsed))
        if found:
            for one in found:
                self._fails(ParserError._of(one.code, one.reason, one))
            return False
        self._network._model = parsed
        return True

    def parse_from_file(self, model: str) -> bool:
        if not isinstance(model, str):
            raise TypeError(f"parse_from_file(): incompatible function arguments: {model!r}")
        try:
            with open(model, "rb") as file:
                data = file.read()
        except OSError:
            return self._fails(
                ParserError._of("MODEL_DESERIALIZE_FAILED", f"Failed to open file: {model}")
            )
        return self.parse(data, model)

    def supports_operator(self, op_name: str) -> bool:
        node = onnx.helper.make_node(op_name, ["in"], ["out"])
        only = onnx.ModelProto(graph=onnx.GraphProto(node=[node]))
        return not list(graph.refused(only))

    def _fails(self, error: ParserError) -> bool:
        self._errors.append(error)
        self._voice.error(str(error))
        return False

    def _load_external_data(self, model: onnx.ModelProto, path: str | None) -> ParserError | None:
        outside = [w for w in model.graph.initializer if w.data_location == w.EXTERNAL]
        if not outside:
            return None
        try:
            onnx.load_external_data_for_model(model, os.path.dirname(path or ""))
        except Exception as error:  # a missing file, or onnx's own checks
            return ParserError._of(
                "INVALID_GRAPH", f"Failed to import initializer {outside[0].name}: {error}"
            )
        return None
