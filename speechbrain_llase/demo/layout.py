"""What stands where on the page.

Authors
 * The speechbrain_llase contributors 2026
"""

from dataclasses import dataclass

import gradio as gr

from speechbrain_llase.demo import report
from speechbrain_llase.demo.detailed_model import CONTEXT_S, WINDOW_S
from speechbrain_llase.demo.enhance_one import Tools
from speechbrain_llase.demo.models import Model
from speechbrain_llase.demo.private_folder import PrivateFolder
from speechbrain_llase.demo.visitors import Presses

LEVELS = [("As in the input", True), ("The model's own", False)]
GUARD = (
    "Lets the input pass where the result gains nothing, as the model's YAML "
    "says."
)


@dataclass(frozen=True)
class Shared:
    """What all visitors share."""

    models: dict[str, Model]
    private: PrivateFolder
    tools: Tools
    presses: Presses


@dataclass(frozen=True)
class Controls:
    """What a visitor sets."""

    files: gr.File
    recording: gr.Audio
    model: gr.Dropdown
    wet: gr.Slider
    window_s: gr.Slider
    context_s: gr.Slider
    restore_level: gr.Radio
    guard: gr.Checkbox
    score: gr.Checkbox
    licence: gr.HTML
    go: gr.Button
    stop: gr.Button


@dataclass(frozen=True)
class Outputs:
    """What a visitor gets."""

    chosen: gr.Dropdown
    report: gr.HTML
    picture: gr.Image
    downloads: gr.File
    failures: gr.HTML
    results: gr.State


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
    licence = gr.HTML(report.about_model(first))
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
        go = gr.Button("Enhance", variant="primary", elem_id="go")
        stop = gr.Button("Stop", elem_id="stop")
    with gr.Accordion("More settings", open=False):
        more = place_settings(first, shared.tools)
    return Controls(files, recording, model, wet, *more, licence, go, stop)


def place_settings(model: Model, tools: Tools) -> list:
    """Place what most visitors leave as it is."""
    missing = tools.scorer.missing
    return [
        *settings_of(model),
        gr.Checkbox(
            not missing,
            label="Score with DNSMOS",
            info=missing or "Takes some seconds a file.",
            interactive=not missing,
            elem_id="score",
        ),
    ]


def settings_of(model: Model) -> list:
    """Window, context, level and guard as a model has them."""
    own = model.enhancer.hparams
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
    ]


def place_outputs() -> Outputs:
    """Place what a visitor gets."""
    return Outputs(
        chosen=gr.Dropdown(
            [], label="Show the result of", visible=False, elem_id="chosen"
        ),
        report=gr.HTML(
            report.NOTHING_YET,
            js_on_load=report.SWITCH,
            min_height=160,
            elem_id="report",
        ),
        downloads=gr.File(
            visible=False,
            file_count="multiple",
            label="Download",
            interactive=False,
            elem_id="downloads",
        ),
        picture=gr.Image(
            visible=False,
            show_label=False,
            buttons=["fullscreen"],
            elem_id="picture",
        ),
        failures=gr.HTML(elem_id="failures"),
        results=gr.State([]),
    )
