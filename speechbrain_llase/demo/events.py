"""What the controls of the page do.

Authors
 * The speechbrain_llase contributors 2026
"""

from html import escape
from pathlib import Path

import gradio as gr

from speechbrain_llase.demo import report
from speechbrain_llase.demo.detailed_model import Settings
from speechbrain_llase.demo.enhance_many import (
    Batch,
    Stopped,
    enhance_all,
    in_words,
)
from speechbrain_llase.demo.enhance_one import Result
from speechbrain_llase.demo.layout import (
    Controls,
    Outputs,
    Shared,
    place_controls,
    place_outputs,
    settings_of,
)

RECORDING = "recording.wav"
CAUGHT = (ValueError, OSError, RuntimeError, MemoryError, Stopped)


def build_page(shared: Shared) -> gr.Blocks:
    """Build the page.

    Arguments
    ---------
    shared : Shared
        Models, folder, limits.

    Returns
    -------
    page : gr.Blocks
        To be launched by `server.serve`.
    """
    page = gr.Blocks(
        title="Enhance speech, and listen", analytics_enabled=False
    )
    with page:
        gr.HTML(report.INTRO)
        with gr.Row():
            with gr.Column(scale=2, min_width=320):
                controls = place_controls(shared)
            with gr.Column(scale=3, min_width=320):
                outputs = place_outputs()
        gr.HTML(report.about_page(shared.tools.limits, shared.private.keep_s))
        connect(page, controls, outputs, shared)
    return page


def connect(
    page: gr.Blocks, controls: Controls, outputs: Outputs, shared: Shared
) -> None:
    """Say what the controls do."""
    c, o = controls, outputs
    hidden = {"api_visibility": "private", "show_progress": "hidden"}
    given = [c.files, c.recording, c.model, c.wet, c.window_s, c.context_s]
    given += [c.restore_level, c.guard, c.score]
    shown = [o.report, o.picture]
    outcome = [o.results, o.chosen, *shown, o.downloads, o.failures]
    clear = c.go.click(
        show_nothing, None, outcome, queue=False, js=report.REVEAL, **hidden
    )
    pressed = clear.then(
        presser(shared),
        given,
        outcome,
        show_progress_on=o.report,
        concurrency_limit=1,
        concurrency_id="work",
        api_visibility="private",
    )

    pressed.failure(lambda: report.NOT_DONE, None, o.report, **hidden)

    def end(request: gr.Request) -> None:
        shared.presses.stop(request.session_hash)

    def choose(name: str, results: list[Result]) -> list:
        found = [x for x in results if x.name == name]
        return show(found[0], shared) if found else [gr.skip(), gr.skip()]

    def adapt(name: str) -> list:
        model = shared.models[name]
        return [*settings_of(model), report.about_model(model)]

    c.stop.click(end, cancels=[pressed], queue=False, **hidden)
    page.unload(end)
    o.chosen.input(choose, [o.chosen, o.results], shown, **hidden)
    settings = [c.window_s, c.context_s, c.restore_level, c.guard, c.licence]
    c.model.change(adapt, c.model, settings, **hidden)


def presser(shared: Shared):
    """What the button runs."""

    def press(
        files: list[str] | None,
        recording: str | None,
        name: str,
        wet: float,
        window_s: float,
        context_s: float,
        restore_level: bool,
        guard: bool,
        score: bool,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),
    ) -> list:
        uploads = [(path, Path(path).name) for path in files or []]
        uploads += [(recording, RECORDING)] if recording else []
        settings = Settings(
            window_s, context_s, restore_level, wet / 100, guard, score
        )
        model = shared.models[name]

        def tell(share: float, words: str) -> None:
            progress(share, desc=words)

        try:
            with shared.presses.begin(request.session_hash) as stop:
                batch = enhance_all(
                    model,
                    uploads,
                    settings,
                    shared.private,
                    shared.tools,
                    tell,
                    stop,
                )
        except CAUGHT as err:
            words = escape(in_words(err), quote=False)
            raise gr.Error(
                words, duration=None, title="Not done", print_exception=False
            ) from err
        return show_batch(batch, shared)

    return press


def show_nothing() -> list:
    """Values of all outputs while a press works."""
    return [
        [],
        gr.Dropdown(visible=False),
        "",
        gr.Image(None, visible=False),
        gr.File(None, visible=False),
        "",
    ]


def show_batch(batch: Batch, shared: Shared) -> list:
    """Values of all outputs, the first result shown."""
    names = [result.name for result in batch.results]
    files = [str(result.after) for result in batch.results]
    files += [str(batch.archive)] if batch.archive else []
    return [
        list(batch.results),
        gr.Dropdown(names, value=names[0], visible=len(names) > 1),
        *show(batch.results[0], shared),
        gr.File(files, visible=True),
        report.show_failures(batch.failures),
    ]


def show(result: Result, shared: Shared) -> list:
    """Values of report and picture."""
    picture = str(result.picture) if result.picture else None
    return [
        report.show(result, shared.tools.scorer.missing),
        gr.Image(picture, visible=picture is not None),
    ]
