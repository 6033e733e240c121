"""What a result looks like: plain HTML, every name escaped."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from speechbrain_llase.demo.enhance_one import NOISY, EnhancedFile
from speechbrain_llase.demo.limits import MB, Limits, duration
from speechbrain_llase.demo.models import Model

INTRO = """
<h1>Enhance speech, and listen</h1>
<p>The model hears noisy speech and <b>says it again</b> with a clean voice: it
generates new speech. It can change words and voices, so listen to both
before you rely on the result, and use it neither as evidence nor where words
count and nobody checks them. It is made for one speaker; what comes out has
16 kHz and one channel.</p>
"""
NOTHING_YET = (
    "<p>Choose a noisy recording and press Enhance. What was heard before and "
    "after will stand here.</p>"
)
NOT_DONE = "<p>Nothing was made. A message says why, unless you stopped it.</p>"
SCORE_NAMES = {
    "OVRL": "overall",
    "SIG": "speech",
    "BAK": "background",
    "P808": "P.808",
}
ENTROPY_NOTE = (
    "Entropy tells how unsure the model was of what it said: 0 is certain, the "
    "dotted line at 11.1 a pure guess."
)
SCORES_NOTE = (
    "DNSMOS guesses from 1 to 5 how people would rate the sound. It does not "
    "notice changed words or voices."
)
SWITCH = """
element.addEventListener("play", (event) => {
  for (const other of element.querySelectorAll("audio")) {
    if (other !== event.target && !other.paused) {
      other.pause();
      event.target.currentTime = other.currentTime;
    }
  }
}, true);
"""
REVEAL = """
() => {
  const report = document.getElementById("report");
  const top = report.getBoundingClientRect().top;
  if (top < 0 || top > innerHeight / 2) {
    report.scrollIntoView({block: "start"});
  }
  return [];
}
"""
NAME_BUTTONS = """
() => {
  const name = () => {
    for (const area of document.querySelectorAll(".upload-container")) {
      if (area.matches(".icon-mode")) {  // it lies in another button
        area.ariaLabel = "Add files";
        const outer = area.parentElement.closest("button");
        if (outer) {
          outer.title = outer.ariaLabel = "Add files";
          outer.role = "group";
          outer.tabIndex = -1;
        }
      } else {
        area.removeAttribute("aria-label");  // its own words are its name
      }
    }
    for (const head of document.querySelectorAll(".toast-header")) {
      head.role = "group";  // of an error; a button lies in it
      head.tabIndex = -1;
    }
    for (const button of document.querySelectorAll("button")) {
      if (!button.innerText.trim() && !button.ariaLabel && !button.title) {
        const block = button.closest(".block")?.querySelector("label");
        button.ariaLabel = (block?.innerText.trim() || "This") + ": more";
      }
    }
  };
  new MutationObserver(name).observe(
    document.body, {childList: true, subtree: true});
  name();
  return [];
}
"""
STYLE = """
.llase-players {display: flex; flex-wrap: wrap; gap: 1rem; margin: 0.5rem 0}
.llase-players figure {flex: 1 1 260px; margin: 0}
.llase-players figcaption {font-weight: 600; margin-bottom: 0.25rem}
.llase-players audio {width: 100%}
.llase-scores {border-collapse: collapse; margin: 0.75rem 0 0.25rem}
.llase-scores, .llase-scores tr {border: 0 !important}
.llase-scores th, .llase-scores td {
  border: 0 !important; padding: 0.15rem 0 0.15rem min(1.6rem, 2.5vw) !important;
  text-align: right !important; font-variant-numeric: tabular-nums}
.llase-scores th:first-child {
  padding-left: 0 !important; text-align: left !important}
.llase-scores thead tr {border-bottom: 1px solid currentColor !important}
.llase-scores thead th {font-weight: 400 !important}
#report .error, #report .clear-status {display: none}
.llase-small {font-size: 0.85em}
#picture img {width: 100%}
.dark button[role="tab"].selected {color: var(--primary-400)}
.dark .llase-light, body:not(.dark) .llase-dark {display: none}
"""


def result_html(result: EnhancedFile, missing: str = "") -> str:
    """Players, scores (or why there can be none) and notes of one result."""
    head = (
        f"<h2>{escape(result.name)}</h2><p>{duration(result.audio_s)}, "
        f"enhanced in {duration(result.work_s)}. Press play on one while the "
        "other plays, and it goes on at the same place.</p>"
    )
    shown = {NOISY: result.before} | result.players
    players = "".join(player_html(*each) for each in shown.items())
    parts = [head, f'<div class="llase-players">{players}</div>']
    if result.scores:
        parts.append(scores_html(result.scores))
    elif missing:
        parts.append(f'<p class="llase-small">{escape(missing)}</p>')
    if result.pictures:
        parts.append(f'<p class="llase-small">{ENTROPY_NOTE}</p>')
    if result.notes:
        notes = "".join(f"<li>{escape(note)}</li>" for note in result.notes)
        parts.append(f"<ul>{notes}</ul>")
    return "".join(parts)


def player_html(label: str, path: Path) -> str:
    """A player of the browser's own, which reads only what it plays."""
    return (
        f"<figure><figcaption>{label}</figcaption>"
        f'<audio controls preload="metadata" src="{address_of(path)}" '
        f'aria-label="{label}"></audio></figure>'
    )


def picture_html(result: EnhancedFile) -> str:
    """The picture, light or dark as the page is; a click opens it alone."""
    words = escape(
        f"Spectrograms of {result.name} before and after, the levels of both "
        "over time, and how unsure the model was."
    )
    shown = ""
    for kind, path in result.pictures.items():
        address = address_of(path)
        shown += (
            f'<a class="llase-{kind}" href="{address}" target="_blank">'
            f'<img src="{address}" alt="{words}" loading="lazy"></a>'
        )
    return shown


def address_of(path: Path) -> str:
    """Where the page sends a file; relative, so it holds below a proxy's prefix."""
    return escape(f"gradio_api/file={quote(path.as_posix())}")


def scores_html(scores: dict[str, dict[str, float]]) -> str:
    """DNSMOS of input and output."""
    head = "".join(f"<th>{words}</th>" for words in SCORE_NAMES.values())
    rows = "".join(
        f"<tr><th>{label}</th>"
        + "".join(f"<td>{found[key]:.2f}</td>" for key in SCORE_NAMES)
        + "</tr>"
        for label, found in scores.items()
    )
    return (
        '<table class="llase-scores">'
        f"<thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table>"
        f'<p class="llase-small">{SCORES_NOTE}</p>'
    )


def failures_html(failures: Sequence[str]) -> str:
    """Files of a batch that were left out, and why."""
    if not failures:
        return ""
    items = "".join(f"<li>{escape(words)}</li>" for words in failures)
    return f"<h2>Left out</h2><ul>{items}</ul>"


def licence_html(model: Model) -> str:
    """The licence of a model's weights."""
    return (
        f'<p class="llase-small">Licence of its weights: '
        f"{escape(model.licence)}.</p>"
    )


def limits_html(limits: Limits) -> str:
    """Limits and privacy."""
    return (
        f'<p class="llase-small">At most {limits.max_files} files at a time, '
        f"{duration(limits.max_s)} and {limits.max_bytes / MB:.0f} MB each. "
        f"DNSMOS scores the first {duration(limits.scored_s)}, the guard takes "
        f"{duration(limits.guard_s)} at most. One visitor is served at a "
        "time; others wait in a queue. Uploads and results lie in a private folder "
        "of the computer that runs this page; each is deleted "
        f"{duration(limits.keep_s)} after it came, and all when the page ends. "
        "Nothing is sent elsewhere.</p>"
    )
