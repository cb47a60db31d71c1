"Packaging. Everything it says comes from settings.ini; the survey extracts in data/ travel inside the wheel."
from configparser import ConfigParser
from pathlib import Path
from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

SURVEYS = ['gss2018', 'invented_interviews']  # folders of data/ whose terms allow passing them on, so they go into the wheel

here = Path(__file__).parent
config = ConfigParser()
config.read(here/'settings.ini', encoding='utf-8')
cfg = config['DEFAULT']


def survey_files():
    "Files of the surveys that travel, relative to the repository, e.g. data/gss2018/codebook.yaml; not the scripts that made them."
    files = (f for s in SURVEYS for f in (here/'data'/s).rglob('*') if f.is_file())
    return sorted(f.relative_to(here) for f in files if f.name[0] != '.' and f.suffix not in ('.py', '.pyc'))


class BuildWithSurveys(build_py):
    "Puts data/<survey>/ into alignsurvey/data/<survey>/ of what is built. An editable install reads the repository's own data/."

    def run(self):
        super().run()
        if self.editable_mode: return
        for s in SURVEYS:
            if not (here/'data'/s/'codebook.yaml').exists():
                raise FileNotFoundError(f"data/{s}/codebook.yaml: not there, but setup.py lists {s!r}: restore the folder, or take it off SURVEYS")
        for f in survey_files():
            to = Path(self.build_lib)/'alignsurvey'/f
            self.mkpath(str(to.parent))
            self.copy_file(str(here/f), str(to))

    def get_source_files(self): return super().get_source_files() + [str(f) for f in survey_files()]


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
