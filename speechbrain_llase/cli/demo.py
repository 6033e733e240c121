"""`speechbrain-llase demo`: a page to listen on."""

import argparse
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from speechbrain_llase.cli.common import (
    add_model_options,
    model_options,
    non_empty,
    one_line,
    positive,
    refuse,
    say,
)
from speechbrain_llase.cli.export import export

HELP = """\
Open a page in the browser: upload or record noisy speech, enhance it, listen
to both, see spectrograms, scores and how sure the model was, download.

Only this computer can reach it, unless --host says otherwise. Nothing leaves
the computer, and nothing that was uploaded is kept when the page ends.
"""
EPILOG = """\
examples:
  speechbrain-llase demo --open
  speechbrain-llase demo --source llase_mini models/llase --port 8000
  speechbrain-llase demo --host 0.0.0.0 --users users.txt
      for other computers; users.txt has lines name:password
  speechbrain-llase demo --static page && python -m http.server -d page
      a page for any host of files: it enhances in the visitor's browser

The models are loaded when the page starts; visitors choose among these only,
since a model's YAML can run any code: name only those you trust.

exit codes: 0 ended by Ctrl-C or SIGTERM, or written by --static, 1 the model
cannot be exported, 2 could not begin, 130 interrupted while the models were
loaded.
"""


def add_parser(subparsers) -> None:
    """Describe the sub-command `demo`."""
    parser = subparsers.add_parser(
        "demo",
        help="open a page to listen on",
        description=HELP,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        conflict_handler="resolve",  # --source takes several here
    )
    parser.set_defaults(run=run)
    add_place_options(parser)
    add_model_options(parser)
    parser.add_argument(
        "--source",
        nargs="+",
        default=["llase_mini"],
        type=non_empty,
        metavar="NAME|DIR|URL|ORG/NAME",
        help="packaged models, model folders, or where to fetch them"
        " (default: llase_mini)",
    )
    add_limit_options(parser)


def add_place_options(parser: argparse.ArgumentParser) -> None:
    """Add options that say where the page is, and for whom."""
    add = parser.add_argument
    add(
        "--host",
        default="127.0.0.1",
        type=non_empty,
        metavar="ADDRESS",
        help="address to listen at; 0.0.0.0 lets other computers in"
        " (default: %(default)s)",
    )
    add(
        "--port",
        default=7860,
        type=port,
        metavar="N",
        help="0 means any that is free (default: %(default)s)",
    )
    add("--open", action="store_true", help="open it in the browser")
    add(
        "--static",
        type=Path,
        metavar="DIR",
        help="write a page into a new or empty folder instead, for one model:"
        " any host can serve it, and it runs on the visitor's own device"
        " (needs the extra [export]; of the other options only --source and"
        " --generative count)",
    )
    add(
        "--onnxruntime-web",
        type=Path,
        metavar="FILE",
        help="with --static: onnxruntime-web as `npm pack` gives it; without,"
        " it is fetched from npm's registry (33 MB)",
    )
    add(
        "--users",
        type=Path,
        metavar="FILE",
        help="who may log in: lines name:password, readable by you alone",
    )
    add(
        "--root-path",
        default="",
        metavar="PREFIX",
        help="where a proxy puts the page, such as /enhance",
    )


def add_limit_options(parser: argparse.ArgumentParser) -> None:
    """Add options that say how much a visitor may ask for."""
    limits = {
        "--max-minutes": (60, "length of a file in minutes"),
        "--max-mb": (500, "size of a file in MB"),
        "--max-files": (20, "files at a time"),
        "--keep-minutes": (60, "minutes until uploads and results are deleted"),
    }
    for option, (default, words) in limits.items():
        parser.add_argument(
            option,
            default=default,
            type=positive,
            metavar="N",
            help=f"{words} (default: %(default)s)",
        )


def port(text: str) -> int:
    """Read a port."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not in 0 to 65535")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Run `speechbrain-llase demo`; return the exit code."""
    if args.static:
        return write_static(args)
    if args.onnxruntime_web:
        return refuse("--onnxruntime-web is for --static DIR; name both")
    if find_spec("gradio") is None:
        return refuse(
            'the page needs Gradio: pip install "speechbrain_llase[demo]"'
        )
    from speechbrain_llase.demo import server
    from speechbrain_llase.demo.security import private_folder, read_users

    try:
        port = server.find_port(args.host, args.port)
        users = read_users(args.users) if args.users else None
    except ValueError as err:
        return refuse(one_line(err))
    place = {"server_name": args.host, "server_port": port, "auth": users}
    place |= {"root_path": args.root_path, "inbrowser": args.open}
    if not server.is_local(args.host):
        who = "those in --users" if users else "EVERYBODY, without a password,"
        say(
            f"warning: {args.host} lets {who} use this page who can reach "
            "this computer; what they send is not encrypted unless a proxy "
            "does it (see docs/page.md)"
        )
    server.end_by_signals()
    with private_folder() as folder:
        server.prepare_gradio(folder)  # before it is imported
        try:
            return open_page(args, folder, place)
        except KeyboardInterrupt:
            say("interrupted while the models were loaded")
            return 130
        finally:  # a second Ctrl-C ends no cleaning up
            server.ignore_signals()


def write_static(args: argparse.Namespace) -> int:
    """Export a model with a page around it; return the exit code."""
    from speechbrain_llase.export.web_page import write_page

    if len(args.source) > 1:
        return refuse(
            f"--static takes one model; {len(args.source)} were given "
            f"({', '.join(args.source)}): write a folder for each"
        )
    (source,) = args.source
    package = args.onnxruntime_web
    if package and not package.is_file():
        return refuse(f"--onnxruntime-web: there is no file {package}")
    code = export(
        source,
        args.static,
        args.generative,
        add=lambda folder: write_page(folder, package),
    )
    if code == 0:
        print(f"python -m http.server --directory {args.static}")
    return code


def open_page(args: argparse.Namespace, folder: Path, place: dict) -> int:
    """Load the models, serve the page until Ctrl-C; return the exit code."""
    from speechbrain_llase.demo.enhance_one import Shared
    from speechbrain_llase.demo.limits import MB, Limits
    from speechbrain_llase.demo.models import load_models
    from speechbrain_llase.demo.scores import BeginningScorer
    from speechbrain_llase.demo.server import ignore_signals, serving

    limits = Limits(
        max_s=60.0 * args.max_minutes,
        max_bytes=MB * args.max_mb,
        max_files=args.max_files,
        keep_s=60 * args.keep_minutes,
    )
    try:
        models = load_models(**model_options(args))
    except (OSError, RuntimeError, KeyError, ValueError) as err:
        return refuse(one_line(err))
    shared = Shared(models, limits, BeginningScorer(limits.scored_s), folder)
    try:
        with serving(shared, **place) as address:
            with suppress(KeyboardInterrupt):
                print(f"The page is at {address} (Ctrl-C ends it)", flush=True)
                while True:  # Windows hears Ctrl-C between short waits only
                    time.sleep(1.0)
            ignore_signals()
    except (OSError, ValueError) as err:  # the port is taken, or too slow
        return refuse(one_line(err))
    return 0
