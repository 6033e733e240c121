"""What stands where on the page."""

from typing import NamedTuple

import gradio as gr

from speechbrain_llase.demo import report
from speechbrain_llase.demo.enhance_one import Shared
from speechbrain_llase.demo.limits import CONTEXT_S, WINDOW_S
from speechbrain_llase.demo.models import Model

LEVELS = [("As in the input", True), ("The model's own", False)]
GUARD = (
    "Lets the input pass where the result gains nothing, as the model's YAML "
    "says."
)
REFINE = "A network that hears the input, too, corrects the result."
HIGHS = "One more download, with what the input holds above 8 kHz."
TASK_LABELS = {
    "se": "Enhance",
    "plc": "Fill lost packets",
    "aec": "Cancel an echo",
    "tse": "Extract a speaker",
    "ss": "Separate two speakers",
}
REFERENCE_LABELS = {
    "aec": "Loopback: what the loudspeaker plays",
    "tse": "Enrolment: some seconds of who is wanted, alone",
}
KNOB = "0 is what the input says, 100 what the token model would say."


READABLE = {  # with 4.5:1 at least between letters and paper
    "body_text_color_subdued": "*neutral_600",
    "body_text_color_subdued_dark": "*neutral_300",
    "block_info_text_color": "*neutral_600",
    "block_info_text_color_dark": "*neutral_300",
    "color_accent": "*primary_700",
    "button_primary_background_fill": "*primary_700",
    "button_primary_background_fill_dark": "*primary_700",
    "button_primary_background_fill_hover": "*primary_800",
    "button_primary_background_fill_hover_dark": "*primary_800",
}


def make_theme() -> gr.themes.Base:
    """Gradio's theme, without fonts to fetch, in colours that all can read."""
    theme = gr.themes.Default(font=["system-ui", "sans-serif"])
    return theme.set(**READABLE)


class Controls(NamedTuple):
    """What a visitor sets; what enhancement is given comes first."""

    files: gr.File
    recording: gr.Audio
    model: gr.Dropdown
    wet: gr.Slider
    window_s: gr.Slider
    context_s: gr.Slider
    restore_level: gr.Radio
    guard: gr.Checkbox
    refine: gr.Checkbox
    generative: gr.Slider
    score: gr.Checkbox
    keep_highs: gr.Checkbox
    task: gr.Dropdown
    reference: gr.File
    licence: gr.HTML
    enhance: gr.Button
    stop: gr.Button


class Outputs(NamedTuple):
    """What a visitor gets."""

    results: gr.State
    chosen: gr.Dropdown
    report: gr.HTML
    picture: gr.HTML
    downloads: gr.File
    failures: gr.HTML


def place_controls(shared: Shared) -> Controls:
    """Place what a visitor sets."""
    first = next(iter(shared.models.values()))
    with gr.Tab("Files"):
        files = gr.File(
            file_count="multiple", label="Noisy speech", elem_id="files"
        )
    with gr.Tab("Record"):
        recording = gr.Audio(
            sources=["microphone"],
            type="filepath",
            label="Microphone",
            buttons=[],
            elem_id="recording",
        )
    model = gr.Dropdown(
        list(shared.models), value=first.name, label="Model", elem_id="model"
    )
    licence = gr.HTML(report.licence_html(first))
    task, reference = place_task(first), place_reference()
    wet = gr.Slider(
        0,
        100,
        100,
        step=1,
        label="Mix (%)",
        info="0 is the input, 100 the enhanced speech alone.",
        elem_id="wet",
    )
    with gr.Row():
        enhance = gr.Button("Enhance", variant="primary", elem_id="go")
        stop = gr.Button("Stop", elem_id="stop")
    missing = shared.scorer.missing
    with gr.Accordion("More settings", open=False):
        settings = place_model_settings(first)
        score = gr.Checkbox(
            not missing,
            label="Score with DNSMOS",
            info=missing or "Takes some seconds a file.",
            interactive=not missing,
            elem_id="score",
        )
        keep_highs = gr.Checkbox(
            False,
            label="Keep rate and highs",
            info=HIGHS,
            elem_id="keep-highs",
        )
    settings = *settings, score, keep_highs, task, reference
    given = files, recording, model, wet, *settings
    return Controls(*given, licence, enhance, stop)


def place_task(model: Model) -> gr.Dropdown:
    """A choice of tasks, for a model that has several."""
    return gr.Dropdown(
        [(TASK_LABELS[name], name) for name in model.tasks],
        value="se",
        label="Task",
        visible=len(model.tasks) > 1,
        elem_id="task",
    )


def place_reference(task: str = "se") -> gr.File:
    """A second input, for a task that has one; empty again."""
    return gr.File(
        None,
        label=REFERENCE_LABELS.get(task, "Second input"),
        visible=task in REFERENCE_LABELS,
        elem_id="reference",
    )


def place_model_settings(model: Model) -> list:
    """Window, context, level, guard and refiner as a model has them."""
    own, stages = model.enhancer.hparams, model.enhancer.stages
    knob = stages.having(refine=True).generative
    return [
        gr.Slider(
            *WINDOW_S,
            min(own.window_s, WINDOW_S[1]),
            step=0.5,
            label="Window (s)",
            info="Heard at a time.",
            elem_id="window",
        ),
        gr.Slider(
            *CONTEXT_S,
            min(own.context_s, CONTEXT_S[1]),
            step=0.1,
            label="Context (s)",
            info="Heard besides, on both sides of a window.",
            elem_id="context",
        ),
        gr.Radio(
            LEVELS,
            value=bool(own.restore_level),
            label="Level of the speech",
            elem_id="level",
        ),
        gr.Checkbox(
            False,
            label="Guard",
            info=model.guard_off or GUARD,
            interactive=not model.guard_off,
            elem_id="guard",
        ),
        gr.Checkbox(
            stages.refines,
            label="Refine",
            info=REFINE,
            interactive=hasattr(own, "refine"),  # else part of the model
            elem_id="refine",
        ),
        gr.Slider(
            0,
            100,
            50 if knob is None else 100 * knob,
            step=5,
            label="Generative (%)",
            info=KNOB,
            interactive=knob is not None,
            elem_id="generative",
        ),
    ]


def place_outputs() -> Outputs:
    """Place what a visitor gets."""
    chosen = gr.Dropdown(
        [], label="Show the result of", visible=False, elem_id="chosen"
    )
    shown = gr.HTML(
        report.NOTHING_YET,
        js_on_load=report.SWITCH,
        min_height=160,
        elem_id="report",
    )
    downloads = gr.File(
        visible=False,
        file_count="multiple",
        label="Download",
        interactive=False,
        elem_id="downloads",
    )
    picture = gr.HTML(elem_id="picture")
    failures = gr.HTML(elem_id="failures")
    return Outputs(gr.State([]), chosen, shown, picture, downloads, failures)
