"""The page of the app: a project's glyphs, its training, drawings, review and font, from left to right."""

from pathlib import Path
from typing import Any

import gradio as gr
from gradio.themes import Default

from utils.glyphs.charset import NAMED
from utils.messages import _
from utils.web.commands import AUTO
from utils.web.handlers import Handlers, told
from utils.web.projects import FONTS, KINDS, projects_in

EVERY = 2.0  # seconds between looks at the job
CSS = """
iframe { width: 100%; height: 75vh; border: 1px solid var(--border-color-primary); border-radius: 8px }
.status { padding: 0.6em 0.9em; border-radius: 8px; background: var(--block-background-fill); overflow-wrap: anywhere }
.coverage td { padding: 0.15em 0.8em 0.15em 0; vertical-align: top }
.coverage td + td { text-align: right; white-space: nowrap }
#make, #stop, #train { align-self: end; height: auto; min-height: 2.6rem }
.coverage, .coverage tr, .coverage td { border: 0 }
#plan textarea, #log textarea { font-family: ui-monospace, monospace }
"""
# The review page in its frame has its marks, and this page is of the same server.
MARKS = """(...given) => {
  const page = document.querySelector("#review iframe")?.contentWindow;
  return [...given.slice(0, -1), JSON.stringify(page?.review?.() ?? null)];
}"""
# Not shown to clients of the server, which are to be its page alone.
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
BUSY: dict[str, Any] = {"api_visibility": "private"}
MANY: dict[str, Any] = {"file_count": "multiple", "height": 120}


def make_theme() -> Any:
    """A theme whose fonts are the reader's own: nothing is fetched."""
    return Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])


def make_interface(folder: Path) -> gr.Blocks:
    """The page, of the projects in a folder."""
    handlers = Handlers(folder)
    with gr.Blocks(title="zi2zi", analytics_enabled=False, delete_cache=(3600, 86400)) as page:
        gr.Markdown("# zi2zi")
        with gr.Row(equal_height=True):
            name = gr.Dropdown(label=_("Project"), choices=projects_in(folder), value=None, elem_id="project")
            fresh = gr.Textbox(label=_("Name of a new project"), max_lines=1, elem_id="fresh")
            make = gr.Button(_("Make a project"), scale=0, min_width=200, elem_id="make")
        with gr.Row(equal_height=True):
            standing, seen = gr.HTML(elem_id="status"), gr.State("")
            stop = gr.Button(_("Stop"), variant="stop", interactive=False, scale=0, min_width=200, elem_id="stop")
        with gr.Tabs():
            with gr.Tab(_("1. Glyphs"), id="glyphs"):
                glyphs_tab(handlers, name)
            with gr.Tab(_("2. Training"), id="training"):
                report = training_tab(handlers, name)
            with gr.Tab(_("3. Drawing"), id="drawing"):
                drawing_tab(handlers, name)
            with gr.Tab(_("4. Review"), id="review-tab"):
                review = gr.HTML(elem_id="review")
            with gr.Tab(_("5. Font"), id="font"):
                made = font_tab(handlers, name)
        with gr.Accordion(_("What the program says"), open=True):
            log = gr.Textbox(show_label=False, lines=8, max_lines=8, interactive=False, elem_id="log")

        pages, looked = [report, review, made], [standing, log, stop, seen]
        make.click(told(handlers.make), fresh, [name, fresh], **QUIET)
        stop.click(told(handlers.stop), None, None, **QUIET)
        page.load(handlers.first, None, name, **QUIET)
        gr.Timer(EVERY).tick(told(handlers.look), name, looked, **QUIET)
        name.change(told(handlers.pages_of), name, pages, **QUIET)
        seen.change(told(handlers.pages_of), name, pages, **QUIET)
    return page


def glyphs_tab(handlers: Handlers, name: Any) -> None:
    """The source font, and one's own glyphs: a font, images, or pages that were written on."""
    with gr.Row():
        with gr.Column():
            source, take_source, source_shown = font_upload("source", _("Source font: it has every character"))
        with gr.Column():
            target, take_target, target_shown = font_upload("target", _("Your font, as far as it is drawn"))
            with gr.Accordion(_("No font yet: images, or pages written by hand"), open=False):
                images = gr.File(
                    label=_("Images named 永.png or U+6C38.png, or a zip of them"), **MANY, elem_id="images"
                )
                take_images = gr.Button(_("Take these images"), elem_id="take-images")
                with gr.Row():
                    charset = gr.Dropdown(label=_("Characters to write"), choices=list(NAMED), value="big5_1")
                    count = gr.Number(label=_("of these so many"), value=60, minimum=1, precision=0)
                template = gr.Button(_("Make pages to write on"), elem_id="template")
                link = gr.HTML(elem_id="template-link")
                pages = gr.File(label=_("Photos or scans of the pages"), **MANY, elem_id="pages")
                cut = gr.Button(_("Cut the glyphs out"), elem_id="cut")
                said = gr.Textbox(label=_("What the program says"), lines=3, interactive=False, elem_id="cut-said")

    shown = [source_shown, target_shown]
    after: dict[str, Any] = {"fn": told(handlers.coverage), "inputs": name, "outputs": shown, **QUIET}
    name.change(**after)
    take_source.click(told(handlers.source), [name, *source], None, **BUSY).then(**after)
    take_target.click(told(handlers.target), [name, *target], None, **BUSY).then(**after)
    take_images.click(told(handlers.images), [name, images], None, **BUSY).then(**after)
    cut.click(told(handlers.pages), [name, pages], said, **BUSY).then(**after)
    template.click(told(handlers.template), [name, charset, count], [said, link], **BUSY)


def font_upload(role: str, label: str) -> tuple[list[Any], Any, Any]:
    """A file and the place in it, the button that takes it, and where its name and coverage are shown."""
    file = gr.File(label=label, file_types=list(FONTS), height=120, elem_id=f"{role}-file")
    hint = _("of a .ttc, or of a variable font: #3, :wght=400")
    place = gr.Textbox(label=_("Which font in the file"), placeholder=hint, max_lines=1, elem_id=f"{role}-place")
    take = gr.Button(_("Take this font"), elem_id=f"take-{role}")
    return [file, place], take, gr.HTML(elem_id=f"{role}-coverage")


def training_tab(handlers: Handlers, name: Any) -> Any:
    """The form of the training; returns where its report is shown."""
    with gr.Row(equal_height=True):
        hint = _("A project that was trained goes on from there; its state is saved when it is stopped.")
        label = _("End after so many minutes (0: as the program chooses)")
        minutes = gr.Number(label=label, info=hint, value=0, minimum=0, elem_id="minutes")
        train = gr.Button(_("Train"), variant="primary", scale=0, min_width=200, elem_id="train")
    with gr.Accordion(_("More"), open=False, elem_id="more"):
        with gr.Row():
            steps = gr.Number(label=_("End at a step"), value=0, minimum=0, precision=0, elem_id="steps")
            batch = gr.Number(label=_("Glyphs at once (0: 16)"), value=0, minimum=0, precision=0, elem_id="batch")
        with gr.Row():
            scratch = gr.Checkbox(label=_("From nothing, without the bundled base"), elem_id="scratch")
            over = gr.Checkbox(label=_("Start over, deleting what was trained"), elem_id="over")
        check = gr.Button(_("What would be trained?"), elem_id="check")
        plan = gr.Textbox(label=_("The plan"), lines=2, max_lines=20, interactive=False, elem_id="plan")
    form = [name, minutes, steps, batch, scratch, over]
    check.click(told(handlers.check), form, plan, **BUSY)
    train.click(told(handlers.train), form, None, **BUSY)
    return gr.HTML(elem_id="report")


def drawing_tab(handlers: Handlers, name: Any) -> None:
    """What to draw."""
    choices = [*NAMED, "big5_1+punctuation+bopomofo", "source"]
    charset = gr.Dropdown(
        label=_("Charset"), choices=choices, value="big5_1", allow_custom_value=True, elem_id="charset"
    )
    text = gr.Textbox(label=_("or these characters"), lines=2, elem_id="text")
    only = gr.Checkbox(label=_("Only what my font lacks"), value=True, elem_id="only")
    draw = gr.Button(_("Draw"), variant="primary", elem_id="draw")
    draw.click(told(handlers.draw), [name, charset, text, only], None, **BUSY)


def font_tab(handlers: Handlers, name: Any) -> Any:
    """The form of the font; returns where it is to be downloaded."""
    family = gr.Textbox(label=_("Name of the family"), max_lines=1, elem_id="family")
    kinds = [(_("as my font"), AUTO), *((f".{kind}", kind) for kind in KINDS)]
    kind = gr.Radio(label=_("Format"), choices=kinds, value=AUTO, elem_id="kind")
    complete = gr.Checkbox(label=_("Complete my font (else: the drawings alone)"), value=True, elem_id="complete")
    borrow = gr.Checkbox(label=_("Borrow punctuation and letters of the source font"), elem_id="borrow")
    reviewed = gr.Checkbox(
        label=_("Leave out what I marked on the review page to be redrawn or left out"), elem_id="reviewed"
    )
    make = gr.Button(_("Make the font"), variant="primary", elem_id="make-font")
    marks = gr.Textbox(visible=False)
    form = [name, family, kind, complete, borrow, reviewed, marks]
    make.click(told(handlers.font), form, None, js=MARKS, **BUSY)
    return gr.HTML(elem_id="made")
