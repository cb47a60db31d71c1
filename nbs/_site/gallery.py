"""A page with the plots of all other pages, small, each a link to the cell that draws it.

A plot is what a page shows as a picture and says in words (`#| fig-alt:`); a solution of the course is no part of it."""
import io, json
from base64 import b64decode
from pathlib import Path

from PIL import Image

from conf import CAPTIONS, FIRST, ROOMS
from pages import read, text_of

WIDE = 480    # pixels of a small picture: shown at half of that, sharp on a fine screen
HEAD = '# Gallery\n\n{.lead}\nAll plots of this site; each leads to the cell that draws it'


def picture_of(
    cell, # of a finished page
)->str: # PNG in base64; '' where the cell shows no plot
    "The plot that a reader sees."
    tags = cell['metadata'].get('tags', [])
    told = 'image' in cell['metadata'].get('mystnb', {})
    if not told or {'solution', 'remove-output', 'remove-cell'} & {*tags}:
        return ''
    return next((o['data']['image/png'] for o in cell['outputs'] if 'image/png' in o.get('data', {})), '')


def small(
    picture, # PNG in base64
)->bytes: # PNG
    "A picture of at most `WIDE` pixels, in 64 colours."
    image = Image.open(io.BytesIO(b64decode(text_of(picture)))).convert('RGB')
    image.thumbnail((WIDE, WIDE))
    out = io.BytesIO()
    image.quantize(64).save(out, 'png', optimize=True)
    return out.getvalue()


def title(
    nb, # a finished page
):
    return next(text_of(c['source'])[2:].split('\n')[0] for c in nb['cells'] if text_of(c['source']).startswith('# '))


def plots_of(
    page, # path of a finished page; a label is written to each cell that draws
    to,   # folder for small pictures
)->list: # Markdown of each plot
    "A page's plots."
    nb, found = read(page), []
    for cell in nb['cells']:
        picture = picture_of(cell) if cell['cell_type'] == 'code' else ''
        if picture:
            label = f'plot-{page.parent.name}-{page.stem}-{cell["id"]}'.lower()
            told = cell['metadata']['mystnb']
            told['figure'] = dict(name=label, align='left')
            (to/f'{label}.png').write_bytes(small(picture))
            found.append(f'[![]({to.name}/{label}.png) {told["image"]["alt"]}](#{label})\\\n{title(nb)}')
    if found:
        page.write_text(json.dumps(nb), encoding='utf-8')
    return found


def gallery(
    src, # folder of the finished pages
):
    "Writes gallery.md, chapter by chapter in the order of the navigation."
    src = Path(src)
    to = src/'plots'
    to.mkdir(exist_ok=True)
    folders = {p.parent for p in src.rglob('*.ipynb')} - {src}
    before = ['tutorials', 'course', 'recipes', *ROOMS]
    parts = [HEAD]
    for folder in sorted(folders, key=lambda f: (before.index(f.name) if f.name in before else -1, f.name)):
        found = [plot for page in sorted(folder.glob('*.ipynb')) for plot in plots_of(page, to)]
        first = folder/f'{FIRST}.ipynb'
        name = title(read(first)) if first.exists() else CAPTIONS.get(folder.name, folder.name.capitalize())
        if found:
            parts += [f'## {name}', ':::{container} gallery', *found, ':::']
    (src/'gallery.md').write_text('\n\n'.join(parts) + '\n', encoding='utf-8')
