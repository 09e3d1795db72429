"""An explanation as one web page that needs nothing beside itself, drawn by the code of the service's page."""

from __future__ import annotations

import json
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

PAGE = """<!doctype html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; \
script-src 'unsafe-inline'">
<title>{title}</title>
<style>
{css}
body {{ background: var(--ground); font-family: system-ui, sans-serif; }}
body {{ margin: 0 auto; max-width: 60rem; padding: 1rem; }}
</style>
</head>
<body>
<h2>{title}</h2>
<p>{answer}</p>
<main id="explanation"></main>
<script id="data" type="application/json">{data}</script>
<script type="module">
{script}
renderExplanation(document.getElementById("explanation"), JSON.parse(document.getElementById("data").textContent),
  document.documentElement.lang);
</script>
</body>
</html>
"""


def explanation_html(explanation: dict[str, Any], path: str | Path, *, language: str = "en") -> Path:
    """Write an explanation as a page.

    Args:
        explanation: as `explain` returns it.
        path: the file to write; it appears whole or not at all.
        language: of the page's own words: "en" or "zh".
    Raises: OutputError: the file cannot be written.
    """
    from gatework.core.files import atomic_write

    page = files("gatework.explain") / "page"
    # Within a script element nothing of a text may look like its end.
    data = json.dumps(explanation, ensure_ascii=False).replace("<", "\\u003c")
    whole = PAGE.format(
        language=language,
        title=escape(f"{Path(explanation['model']).name}: {explanation['task']}"),
        answer=escape(summary(explanation)),
        css=(page / "explain.css").read_text(encoding="utf-8"),
        data=data.encode("utf-8", "replace").decode(),
        script=(page / "explain.js").read_text(encoding="utf-8"),
    )
    with atomic_write(Path(path)) as file:
        file.write(whole.encode())
    return Path(path)


def summary(explanation: dict[str, Any]) -> str:
    """The answer in a line."""
    answer = explanation["answer"]
    if explanation["task"] == "classify":
        return f"{answer['label']} {answer['score']:.4f}"
    if explanation["task"] == "tag":
        return " · ".join(f"{span['text']}: {span['label']}" for span in answer.get("spans") or [])
    if explanation["task"] == "lm":
        nats = [token["nats"] for token in explanation["tokens"]]
        return f"{sum(nats):.2f} nats, {len(nats)} tokens"
    return str(answer["text"])
