"""A sweep's runs and its model, brought to the W&B server from its folder. Start at sync_sweep()."""

from __future__ import annotations

from collections.abc import Iterator

from gaelp_ray.errors import StorageError
from gaelp_ray.sweep.outcome.publishing import artifact_record, publish
from gaelp_ray.sweep.planning.resumption import planned
from gaelp_ray.sweep.session import environment_set
from gaelp_ray.sweep.store.folder import SweepFolder
from gaelp_ray.sweep.trials.mirrored import run_records
from gaelp_ray.sweep.trials.settings import SharedSettings
from gaelp_ray.tracking.modes import TrackingMode, environment
from gaelp_ray.tracking.upload import Uploaded, upload


def sync_sweep(folder: SweepFolder) -> Iterator[Uploaded]:
    """Upload every run that the server lacks or has in part, then the final stage's run with the model.

    The model is judged then, if it was not before. Whatever wandb's own files hold, the sweep's record is what is
    uploaded, every row once. Raises TrackingError where no key is set or the server is away or refuses it; what was
    brought before that stays.
    """
    plan = planned(folder)
    settings = SharedSettings.of(plan, folder.path, folder.read_provenance()["id"], "online")
    with folder.claim(), environment_set(environment(TrackingMode("online", "sync"), folder.path)):
        yield from upload(run_records(folder.history(), vars(settings)), folder.wandb)
        if folder.is_finished():
            record = folder.read_selection()
            publication = publish(plan, settings, folder, record)
            if publication.artifact or not publication.error:
                folder.write_selection(record | {"artifact": artifact_record(publication, record)})
            yield Uploaded(f"{plan.spec.name}-select-{settings.sweep_id}", 0, publication.error or "")
        if problem := folder.deliver():
            raise StorageError(problem)
