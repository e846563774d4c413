"""A stand-in for the W&B server, for tests: the real wandb client accepts it.

It knows runs, history, resume, artifacts with aliases, links to a registry, alerts, `wandb sync` and the reads of
`wandb.Api()`; no users, sweeps or media. Everything is in memory. The fixture `wandb_server` starts it:

    def test_rows_arrive(wandb_server):
        with wandb.init(project="demo", id="r1") as run:
            run.log({"roas": 2.0})
        assert wandb_server.run("demo/r1").summary["roas"] == 2.0

Outages: `down()` and `up()`, `fault(...)` and `clear()`. Reading the code? server, service, documents, runs, artifacts.
"""

from wandb_server.faults import Fault
from wandb_server.records import Alert, Artifact, Run, State
from wandb_server.server import KEY, StandIn

__all__ = ["KEY", "Alert", "Artifact", "Fault", "Run", "StandIn", "State"]
