"""The model of a run over units: in this process, or on a cluster.

Authors
 * The speechbrain_llase contributors 2026
"""

import argparse
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from speechbrain_llase.cli.common import model_options, one_line, say
from speechbrain_llase.inference.loading import load_enhancer

if TYPE_CHECKING:
    from speechbrain_llase.bulk.unit_resume import ResultFolder


def load_engine(args: argparse.Namespace, stack: ExitStack) -> "Engine":
    """Load the model.

    Raises
    ------
    ValueError
        It cannot be loaded, or the cluster not be reached.
    """
    try:
        engine = Engine(args, stack)
    except ValueError as err:
        raise ValueError(one_line(err)) from err
    except (OSError, RuntimeError, KeyError) as err:
        raise ValueError(
            f"{args.source} cannot be loaded: {one_line(err)}"
        ) from err
    if args.compute == "auto":
        say(f"weights are held in {engine.run.settings['compute']}")
    return engine


class Engine:
    """A model that is ready: here, or on a cluster.

    Arguments
    ---------
    args : argparse.Namespace
        The command's.
    stack : ExitStack
        Leaves the cluster at its end.

    Raises
    ------
    ValueError, OSError, RuntimeError, KeyError
        The model cannot be loaded, or the cluster not be reached.
    """

    def __init__(self, args: argparse.Namespace, stack: ExitStack):
        from speechbrain_llase.bulk.container_items import InsideOptions
        from speechbrain_llase.bulk.run_settings import describe_run

        self.args = args
        self.options = InsideOptions(args.column, args.audio_format)
        self.is_ray = args.engine == "ray"
        if self.is_ray:
            self.join_cluster(stack)
            return
        self.enhancer = load_enhancer(**model_options(args))
        self.run = describe_run(self.enhancer, args.source, args.precision)

    def join_cluster(self, stack: ExitStack) -> None:
        """Connect to the cluster and load the model there once."""
        from speechbrain_llase.bulk import ray_cluster
        from speechbrain_llase.bulk.ray_worker import MODEL_OPTIONS

        args = self.args
        self.model = {name: getattr(args, name) for name in MODEL_OPTIONS}
        if os.path.isdir(args.source):
            self.model["source"] = os.path.abspath(args.source)
        self.model["threads"] = args.threads or 1
        self.cluster = ray_cluster.Cluster(
            args.ray_address,
            args.actors,
            self.model["threads"],
            args.gpus_per_actor,
            args.files_per_task,
        )
        self.ray = stack.enter_context(ray_cluster.connected(self.cluster))
        self.run = ray_cluster.describe_there(
            self.ray, self.cluster, self.model, say
        )

    def start(self, folder: "ResultFolder", stop: Any) -> Any:
        """Give what has `enhance(units)`."""
        from speechbrain_llase.bulk.ray_engine import RayRun
        from speechbrain_llase.bulk.unit_worker import UnitWork

        if self.is_ray:
            return RayRun(
                self.ray,
                self.cluster,
                self.model,
                self.run,
                self.options,
                folder,
                stop,
            )
        return UnitWork(
            self.enhancer,
            self.run,
            self.options,
            stop,
            folder.mark,
            folder.here,
        )
