"Packaging. Everything it says comes from settings.ini; the survey extracts in data/ and the lessons in nbs/course/ travel inside the wheel."
from configparser import ConfigParser
from pathlib import Path
from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

SURVEYS = ['gss2018', 'invented_interviews']  # folders of data/ whose terms allow passing them on, so they go into the wheel

here = Path(__file__).parent
config = ConfigParser()
config.read(here/'settings.ini', encoding='utf-8')
cfg = config['DEFAULT']


def files_in(folder):
    "Files below a folder that travel, relative to the repository; not the scripts that made them."
    files = [f.relative_to(here) for f in (here/folder).rglob('*') if f.is_file()]
    return sorted(f for f in files if not any(part[0] == '.' for part in f.parts) and f.suffix not in ('.py', '.pyc'))


def travelling_files():
    "Source -> where it lies in the package: the surveys' files, and the course's lessons with what they read."
    surveys = [f for s in SURVEYS for f in files_in(f'data/{s}')]
    lessons = files_in('nbs/course')
    return {f: f for f in surveys} | {f: f.relative_to('nbs') for f in lessons}


class BuildWithSurveys(build_py):
    "Puts data/<survey>/ into alignsurvey/data/<survey>/ of what is built. An editable install reads the repository's own data/."

    def run(self):
        super().run()
        if self.editable_mode: return
        for s in SURVEYS:
            if not (here/'data'/s/'codebook.yaml').exists():
                raise FileNotFoundError(f"data/{s}/codebook.yaml: not there, but setup.py lists {s!r}: restore the folder, or take it off SURVEYS")
        for f, place in travelling_files().items():
            to = Path(self.build_lib)/'alignsurvey'/place
            self.mkpath(str(to.parent))
            self.copy_file(str(here/f), str(to))

    def get_source_files(self): return super().get_source_files() + [str(f) for f in travelling_files()]


readme = here/'README.md'
setup(
    name=cfg['lib_name'],
    version=cfg['version'],
    description=cfg['description'],
    long_description=readme.read_text(encoding='utf-8') if readme.exists() else cfg['description'],
    long_description_content_type='text/markdown',
    keywords=cfg['keywords'].split(),
    author=cfg['author'],
    author_email=cfg['author_email'],
    license=cfg['license'],
    python_requires='>=' + cfg['min_python'],
    classifiers=[
        'Development Status :: 3 - Alpha',
        'Intended Audience :: ' + cfg['audience'],
        'Natural Language :: ' + cfg['language'],
        'Programming Language :: Python :: 3',
    ],
    packages=find_packages(include=['alignsurvey', 'alignsurvey.*']),
    package_data={'alignsurvey': ['launch/*']},
    install_requires=cfg['requirements'].split(),
    extras_require={'dev': cfg['dev_requirements'].split()},
    entry_points={'console_scripts': cfg['console_scripts'].split(), 'nbdev': ['alignsurvey = alignsurvey._modidx:d']},
    cmdclass={'build_py': BuildWithSurveys},
    zip_safe=False,
)
