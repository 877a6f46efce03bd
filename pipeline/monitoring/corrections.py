"""How does what people corrected in use become a labelled batch?"""

from datetime import UTC, datetime

import numpy as np

from pipeline.base import files, places
from pipeline.base.errors import BadInput
from pipeline.base.params import Params
from pipeline.data import intake
from pipeline.data.batches import Filed
from pipeline.monitoring import live


def add(params: Params, by: str) -> Filed:
    """:func:`pipeline.data.intake.add` for what people corrected in use and is in no batch yet.

    :class:`BadInput` if that is too little.

    The champion is not asked about the labels: where it was wrong it is sure to suspect them. None is held out: they
    were chosen by where the champion erred, and a judge who saw those alone would be for anybody else.
    """
    with live.store() as store:
        ids, corrected = live.corrections(store)
    if len(ids) < params.batches.min_images:
        raise BadInput(f"{len(ids)} corrections wait, a batch needs {params.batches.min_images}: correct more first")
    path = places.CORRECTIONS / f"corrections-{datetime.now(UTC):%Y%m%d%H%M%S}.npz"
    with files.atomic(path) as part:
        np.savez_compressed(part, images=corrected.images, labels=corrected.labels)
    batch = ""
    try:
        filed = intake.add(path, _all_to_train(params), None, by)
        batch = filed.batch
    except intake.Known as known:  # an earlier call was cut off after the batch was accepted
        batch = known.batch
        raise
    finally:
        path.unlink(missing_ok=True)  # an accepted batch holds its images itself, a quarantined one was moved
        if batch:
            with live.store() as store:
                live.file_under(store, ids, corrected.labels, batch)
    return filed


def _all_to_train(params: Params) -> Params:
    return params.model_copy(update={"batches": params.batches.model_copy(update={"held_out": 0.0})})
