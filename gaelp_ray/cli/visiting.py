"""`gaelp-ray sweep --address ray://host:port`: on a cluster that this machine is no node of, watched from here."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

from gaelp_ray.cli.screen import err, out, print_json
from gaelp_ray.cluster.jobs.request import Wish, plain_name, requested
from gaelp_ray.cluster.jobs.results import Results
from gaelp_ray.cluster.jobs.shipment import OURS
from gaelp_ray.sweep.store.folder import SELECTION


def sweep_from_outside(wish: Wish, address: str, as_json: bool) -> int:
    """Run it there to its end, bring back what came of it; returns its exit code. Ctrl-C ends it, as a sweep here."""
    from gaelp_ray.cluster.jobs.visit import Visit, ctrl_c  # brings Ray

    request = requested(wish, Path.cwd().resolve())
    results = Results(Path(OURS) / plain_name(request.job.sweep))
    results.require_free()
    screen = sys.stderr if as_json else sys.stdout

    def show(text: bytes) -> None:
        screen.write(text.decode(errors="replace"))
        screen.flush()

    with Visit(address) as visit, ctrl_c() as told:
        visit.start(request)
        while (code := visit.follow(show, told)) is None:
            visit.stop()
            told.clear()
        packed = visit.results()
    if packed:
        names = results.keep(io.BytesIO(packed), request.job, address)
        line = results.line(names, request.job)
        (err if as_json else out).print(line, markup=False, highlight=False, soft_wrap=True)
        if as_json and SELECTION in names:
            print_json(json.loads((results.folder / SELECTION).read_text(encoding="utf-8")))
    return code
