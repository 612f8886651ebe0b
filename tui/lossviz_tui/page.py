"""The pieces of an HTML page that stands alone: no script, no network, light and dark."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from lossviz_tui.paint.cells import clean_text

_MAX_WORDS = 400

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""What the page may load: nothing but what is in it."""

_STYLE = """
:root { color-scheme: light dark; --back: #fff; --line: #dcdcdc; --soft: #f5f5f5; LIGHT }
@media (prefers-color-scheme: dark) {
:root { --back: #121212; --line: #333; --soft: #1c1c1c; DARK } }
@media print { :root { --back: #fff; --line: #dcdcdc; --soft: #f5f5f5; LIGHT } }
body { background: var(--back); color: var(--text); max-width: 62rem; margin: 0 auto;
  padding: 1rem; font: 15px/1.5 system-ui, 'DejaVu Sans', sans-serif; }
h1 { margin: 0; } h2 { margin: 2.5rem 0 .3rem; border-bottom: 1px solid var(--line); }
h3 { margin: 1.8rem 0 .2rem; }
p.note, figcaption, .muted { color: var(--muted); font-size: .87rem; }
a { color: var(--c0); } nav a { margin-right: 1em; }
figure { margin: 1rem 0; } figure svg { max-width: 100%; height: auto; display: block; }
figure > svg { width: 46rem; }
figure.small > svg { width: 32rem; }
.pair { display: flex; flex-wrap: wrap; gap: 0 1.5rem; } .pair figure { flex: 1 1 24rem; }
table { border-collapse: collapse; font-size: .87rem; margin: .6rem 0;
  font-variant-numeric: tabular-nums; display: block; overflow-x: auto; }
th, td { padding: .12rem .6rem; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; overflow-wrap: anywhere; }
td.n, th.n { text-align: right; overflow-wrap: normal; }
td.own { color: var(--muted); } td.top { font-weight: bold; background: var(--soft); }
pre { background: var(--soft); padding: .6rem; overflow-x: auto; font-size: .8rem; }
.on-dark { display: none; }
@media screen and (prefers-color-scheme: dark) { .on-dark { display: block; }
  .on-light { display: none; } }
"""


def text(words: object, limit: int = _MAX_WORDS) -> str:
    """Words from anywhere, made safe to print and escaped."""
    return escape(clean_text(str(words), limit))


def html_page(
    title: str,
    body: Iterable[str],
    *,
    light: Mapping[str, str],
    dark: Mapping[str, str],
) -> str:
    """A whole page; `light` and `dark` are CSS variables by name."""
    style = _STYLE.replace("LIGHT", _variables(light)).replace("DARK", _variables(dark))
    return "\n".join(
        (
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            f"<title>{text(title)}</title>",
            f"<style>{style}</style></head><body>",
            *body,
            "</body></html>\n",
        )
    )


def _variables(colors: Mapping[str, str]) -> str:
    return " ".join(f"--{name}: {rgb};" for name, rgb in colors.items())


def section(anchor: str, title: str, *content: str, note: str = "") -> str:
    """A part of the page with a heading that can be linked to."""
    remark = f'<p class="note">{text(note, 2_000)}</p>' if note else ""
    return f'<section><h2 id="{anchor}">{text(title)}</h2>{remark}{"".join(content)}</section>'


def figure(picture: str, caption: str = "", *, is_small: bool = False) -> str:
    """A picture, which is markup already, with words below it."""
    words = f"<figcaption>{text(caption)}</figcaption>" if caption else ""
    return f"<figure{' class=' + repr('small') if is_small else ''}>{picture}{words}</figure>"


def table(
    head: Sequence[str], rows: Iterable[Sequence[object]], *, numeric: Iterable[int] = ()
) -> str:
    """Rows of anything; the numeric columns are set to the right."""
    right = set(numeric)

    def cells(row: Sequence[object], tag: str) -> str:
        return "".join(
            f"<{tag}{' class=n' * (k in right)}>{text(value)}</{tag}>"
            for k, value in enumerate(row)
        )

    top = f"<thead><tr>{cells(head, 'th')}</tr></thead>" if head else ""
    lines = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    return f"<table>{top}<tbody>{lines}</tbody></table>"


def facts(rows: Iterable[tuple[str, object]]) -> str:
    """Names and values, those with nothing to say left out."""
    return table((), [(name, value) for name, value in rows if value not in ("", None)])


def folded(title: str, content: str) -> str:
    """What is there for those who open it."""
    return f"<details><summary>{text(title)}</summary>{content}</details>"


def paragraph(words: str, *, is_note: bool = False) -> str:
    """A sentence or two."""
    return f"<p{' class=note' * is_note}>{text(words, 2_000)}</p>"
