"""What makes an ONNX file a function of the network, whatever process exported it?"""

from typing import Any

import onnx


def canonical(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with its nodes, constants and their names in an order of its own.

    tf2onnx goes over sets, and numbers what it makes as it goes: which of several equal constants stays, in which order
    nodes stand and what all are called differ from process to process. Here each node comes just after what it needs,
    counted from the outputs, and is named by its place.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    nodes = _in_order(changed.graph)
    kept = [value.name for value in (*model.graph.input, *model.graph.output)]
    seen = dict.fromkeys([*kept, *(value for node in nodes for value in (*node.input, *node.output))])
    places = {value: place for place, value in enumerate(seen)}
    names = {value: value if value in kept or not value else f"v{place}" for value, place in places.items()}
    for place, node in enumerate(nodes):
        node.name = f"n{place}"
        node.input[:] = [names[value] for value in node.input]
        node.output[:] = [names[value] for value in node.output]
        _replace(node.attribute, sorted(node.attribute, key=lambda attribute: attribute.name))
    constants = [constant for constant in changed.graph.initializer if constant.name in places]
    constants.sort(key=lambda constant: places[constant.name])
    for constant in constants:
        constant.name = names[constant.name]
    _replace(changed.graph.node, nodes)
    _replace(changed.graph.initializer, constants)
    changed.graph.ClearField("value_info")  # names of what lies between; shapes can be inferred again
    changed.graph.ClearField("doc_string")  # numbered
    return changed


def _replace(field: Any, values: list) -> None:
    """Let a repeated field of a protocol buffer hold these values."""
    copies = [type(value).FromString(value.SerializeToString(deterministic=True)) for value in values]
    del field[:]
    field.extend(copies)


def _in_order(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes that the outputs need, each after those that it needs itself."""
    maker = {value: node for node in graph.node for value in node.output}
    ordered: dict[str, onnx.NodeProto] = {}  # by first output, in order
    waiting = [output.name for output in reversed(graph.output)]
    while waiting:
        node = maker.get(waiting[-1])
        if node is None or node.output[0] in ordered:
            waiting.pop()
            continue
        needed = [value for value in node.input if value in maker and maker[value].output[0] not in ordered]
        if needed:
            waiting.extend(reversed(needed))
        else:
            ordered[node.output[0]] = node
    return list(ordered.values())
