"""A stand-in for the module ``tensorrt``, for tests: genuine names, ONNX Runtime behind them.

Enums, ``Logger``, ``Dims`` and the classes that callers derive from are those of NVIDIA's own
module, which is imported from its wheel. Only what needs ``libnvinfer`` is replaced. Which release
it is says ``STANDIN_TENSORRT``; ``standin_for_tests.py`` sets this and the other variables.
"""

from .loading import genuine_module

genuine = genuine_module()
del genuine_module
__version__ = genuine.__version__
globals().update({k: v for k, v in vars(genuine).items() if not k.startswith("_")})

from . import building, likeness, running  # noqa: E402  (they need the genuine names)

REPLACED = (
    building.Builder,
    building.IBuilderConfig,
    building.IHostMemory,
    building.INetworkDefinition,
    building.IOptimizationProfile,
    building.ITensor,
    building.ITimingCache,
    building.OnnxParser,
    building.ParserError,
    running.EngineInspector,
    running.ICudaEngine,
    running.IExecutionContext,
    running.Runtime,
)
"""The classes of the stand-in; the genuine ones of the same names need ``libnvinfer``."""

for _replaced in REPLACED:
    likeness.give_genuine_members(_replaced, getattr(genuine, _replaced.__name__))
    globals()[_replaced.__name__] = _replaced


def init_libnvinfer_plugins(logger, namespace):
    """There are no plugins, and nothing goes wrong."""
    return True
