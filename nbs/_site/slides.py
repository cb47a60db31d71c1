"""Slides of the course's lessons, which fetch nothing: nbconvert makes pages, reveal.js shows them.

    python nbs/_site/slides.py FOLDER REVEAL

FOLDER is where they go; REVEAL holds reveal.js, as its releases do: dist/reveal.js and so on.
"""
import json
import shutil
import sys
from pathlib import Path

import nbformat
from nbconvert import SlidesExporter

from alignsurvey.teaching import edition_for_slides, lesson_numbers

HERE = Path(__file__).resolve().parent


def page(
    lesson, # its number
)->str: # HTML
    "A lesson's slides, with reveal.js in `reveal/` beside them."
    exporter = SlidesExporter(template_name='slides', extra_template_basedirs=[str(HERE)], reveal_url_prefix='reveal',
        reveal_theme='white', exclude_input_prompt=True, exclude_output_prompt=True)
    nb = nbformat.reads(json.dumps(edition_for_slides(lesson)), as_version=4)
    html = exporter.from_notebook_node(nb, {'metadata': {'name': f'Lesson {lesson}'}})[0]
    return html.replace('.ipynb"', '.html"')    # from one lesson's slides to another's


def write_slides(
    folder, # made where it is not there
    reveal, # folder of reveal.js
):
    "A page for each lesson, and reveal.js with its licence. Raises FileNotFoundError."
    folder, reveal = Path(folder), Path(reveal)
    for name in 'dist/reveal.js', 'LICENSE':
        if not (reveal/name).exists():
            raise FileNotFoundError(f'{reveal/name}: not there: name the folder of a release of reveal.js')
    folder.mkdir(parents=True, exist_ok=True)
    for name in 'LICENSE', 'dist/reveal.js', 'dist/reveal.css', 'dist/theme/white.css', 'dist/theme/fonts/source-sans-pro':
        to = folder/'reveal'/name
        to.parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (reveal/name).is_dir() else shutil.copy
        copy(reveal/name, to)
    for lesson in lesson_numbers():
        (folder/f'lesson_{lesson:02d}.html').write_text(page(lesson), encoding='utf-8')


if __name__ == '__main__':
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    write_slides(*sys.argv[1:])
