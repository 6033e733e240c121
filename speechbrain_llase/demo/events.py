"""What the controls of the page do."""

import asyncio
import os
import threading
from html import escape
from pathlib import Path

import gradio as gr

from speechbrain_llase.demo import report
from speechbrain_llase.demo.enhance_many import (
    EnhancedFiles,
    VisitorLeft,
    enhance_uploads,
    explain_error,
)
from speechbrain_llase.demo.enhance_one import EnhancedFile, Shared
from speechbrain_llase.demo.layout import (
    Controls,
    Outputs,
    place_controls,
    place_model_settings,
    place_outputs,
    place_reference,
    place_task,
)
from speechbrain_llase.demo.limits import VisitorSettings

RECORDING = "recording.wav"
CAUGHT = (ValueError, OSError, RuntimeError, MemoryError, VisitorLeft)
DELETE_EVERY_S = 30  # seconds between two looks for old files


def build_page(shared: Shared) -> gr.Blocks:
    """Build the page, which `server.serving` launches."""
    page = gr.Blocks(
        title="Enhance speech, and listen",
        analytics_enabled=False,
        delete_cache=(DELETE_EVERY_S, shared.limits.keep_s),
    )
    with page:
        gr.HTML(report.INTRO)
        with gr.Row():
            with gr.Column(scale=2, min_width=320):
                controls = place_controls(shared)
            with gr.Column(scale=3, min_width=320):
                outputs = place_outputs()
        gr.HTML(report.limits_html(shared.limits))
        connect_events(page, controls, outputs, shared)
    return page


def connect_events(
    page: gr.Blocks, controls: Controls, outputs: Outputs, shared: Shared
) -> None:
    """Say what the controls do."""
    c, o = controls, outputs
    hidden = {"api_visibility": "private", "show_progress": "hidden"}
    given = c[: Controls._fields.index("licence")]
    settings = c[Controls._fields.index("window_s") :]
    settings = [*settings[: settings.index(c.score)], c.licence]
    settings += [c.task, c.reference]
    visitors = VisitorQueue(shared, o)

    def choose(name: str, results: list[EnhancedFile]) -> list:
        found = [x for x in results if x.name == name]
        return show_one(found[0], shared) if found else [gr.skip()] * 2

    def adapt(name: str) -> list:
        model = shared.models[name]
        own = [*place_model_settings(model), report.licence_html(model)]
        return [*own, place_task(model), place_reference()]

    clear = c.enhance.click(
        show_nothing, None, [*o], queue=False, js=report.REVEAL, **hidden
    )
    work = clear.then(
        visitors.enhance,
        [*given],
        [*o],
        show_progress_on=o.report,
        concurrency_limit=1,
        api_visibility="private",
    )
    work.success(None, None, None, js=report.REVEAL, **hidden)
    work.failure(lambda: report.NOT_DONE, None, o.report, **hidden)
    c.stop.click(
        lambda shown: gr.skip() if shown else report.NOT_DONE,
        o.report,
        o.report,
        cancels=[work],
        queue=False,
        **hidden,
    )
    page.load(None, None, None, js=report.NAME_BUTTONS, **hidden)
    page.unload(visitors.leave)
    shown = [o.report, o.picture]
    o.chosen.input(choose, [o.chosen, o.results], shown, **hidden)
    c.model.change(adapt, c.model, settings, **hidden)
    c.task.input(place_reference, c.task, c.reference, **hidden)


class VisitorQueue:
    """Enhancement for one visitor at a time, who may leave before its end."""

    def __init__(self, shared: Shared, outputs: Outputs):
        self.shared, self.outputs = shared, outputs
        self.stops: dict[str, threading.Event] = {}  # of who is at work
        self.at_work = threading.Lock()  # who left still finishes a window

    def enhance_in_turn(self, *given) -> EnhancedFiles:
        """Do what `enhance_uploads` does, once nobody else is at work."""
        with self.at_work:
            return enhance_uploads(*given)

    async def enhance(
        self,
        files: list[str] | None,
        recording: str | None,
        name: str,
        wet: float,
        window_s: float,
        context_s: float,
        restore_level: bool,
        guard: bool,
        refine: bool,
        generative: float,
        score: bool,
        keep_highs: bool,
        task: str,
        reference: str | None,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),
    ) -> list:
        """Enhance what a visitor gave; Gradio cancels this for Stop."""
        uploads = [(path, Path(path).name) for path in files or []]
        uploads += [(recording, RECORDING)] if recording else []
        settings = VisitorSettings(
            window_s,
            context_s,
            restore_level,
            wet / 100,
            guard,
            score,
            refine,
            generative / 100,
            keep_highs,
            task,
            reference,
        )
        given = self.shared.models[name], uploads, settings, self.shared
        stop = self.stops[request.session_hash] = threading.Event()

        def tell(share: float, words: str) -> None:
            progress(share, desc=words)

        try:
            made = await asyncio.to_thread(
                self.enhance_in_turn, *given, tell, stop
            )
        except CAUGHT as err:
            words = escape(explain_error(err), quote=False)
            raise gr.Error(
                words, duration=None, title="Not done", print_exception=False
            ) from err
        finally:  # cancelled, too: the thread ends at its next window
            stop.set()
            self.stops.pop(request.session_hash, None)
        return show_all(made, self.shared, self.outputs)

    def leave(self, request: gr.Request) -> None:
        """End the work for a visitor whose tab is closed."""
        if request.session_hash in self.stops:
            self.stops[request.session_hash].set()


def show_nothing() -> list:
    """Values of all outputs before there is anything."""
    return [
        [],
        gr.Dropdown(visible=False),
        "",
        "",
        gr.File(None, visible=False),
        "",
    ]


def show_all(made: EnhancedFiles, shared: Shared, outputs: Outputs) -> list:
    """Values of all outputs, the first result shown."""
    for path in made.paths():  # from now on their age counts
        os.utime(path)
        outputs.downloads.move_resource_to_block_cache(path)
    names = [result.name for result in made.results]
    files = [str(x) for result in made.results for x in result.outputs]
    files += [str(made.archive)] if made.archive else []
    return [
        list(made.results),
        gr.Dropdown(names, value=names[0], visible=len(names) > 1),
        *show_one(made.results[0], shared),
        gr.File(files, visible=True),
        report.failures_html(made.failures),
    ]


def show_one(result: EnhancedFile, shared: Shared) -> list:
    """Values of report and picture."""
    return [
        report.result_html(result, shared.scorer.missing),
        report.picture_html(result),
    ]
