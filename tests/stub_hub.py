"A server in the form of the Hugging Face hub, over folders on disk: enough of it to download models, adapters and data sets, and to take an upload."
import base64, hashlib, json, re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

COMMIT = 'c0ffee'*6 + 'c0ff'


class Hub(BaseHTTPRequestHandler):
    "root/models/owner/name/… and root/datasets/owner/name/…; what is asked for is noted in `asked`."
    root, asked = None, []

    def log_message(self, *args): pass

    def answer(self, value, code=200, **headers):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(code)
        for k, v in {'Content-Length': str(len(body)), 'Content-Type': 'application/json', **headers}.items(): self.send_header(k.replace('_', '-'), v)
        self.end_headers()
        if self.command != 'HEAD': self.wfile.write(body)

    def missing(self, what='RepoNotFound'): self.answer(dict(error='not found'), 404, X_Error_Code=what)

    def folder(self, kind, repo): return self.root/(kind or 'models/').strip('/')/repo

    def do_GET(self):
        path = self.path.split('?')[0]
        self.asked.append((self.command, path))
        if m := re.fullmatch(r'/api/(models|datasets)/([^/]+/[^/]+)(/revision/[^/]+)?', path):
            folder = self.folder(m[1], m[2])
            files = [dict(rfilename=f.relative_to(folder).as_posix()) for f in sorted(folder.rglob('*')) if f.is_file()]
            return self.answer(dict(id=m[2], sha=COMMIT, private=False, siblings=files, tags=[], downloads=0, likes=0)) if files else self.missing()
        if m := re.fullmatch(r'/api/(models|datasets)/([^/]+/[^/]+)/tree/[^/]+(/.*)?', path):
            folder = self.folder(m[1], m[2])
            within = folder/(m[3] or '').strip('/')
            if not within.exists(): return self.missing('EntryNotFound')
            return self.answer([dict(type='file', path=f.relative_to(folder).as_posix(), size=f.stat().st_size, oid='0'*40) for f in sorted(within.rglob('*')) if f.is_file()])
        if m := re.fullmatch(r'/(datasets/)?([^/]+/[^/]+)/resolve/[^/]+/(.+)', path):
            file = self.folder(m[1], m[2])/m[3]
            if not self.folder(m[1], m[2]).exists(): return self.missing()
            if not file.is_file(): return self.answer(b'', 404, X_Error_Code='EntryNotFound', X_Repo_Commit=COMMIT)
            data = file.read_bytes()
            return self.answer(data, ETag=f'"{hashlib.sha1(data).hexdigest()}"', X_Repo_Commit=COMMIT, Content_Type='application/octet-stream')
        self.missing()

    do_HEAD = do_GET

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get('Content-Length') or 0))
        self.asked.append((self.command, self.path, self.headers.get('Authorization')))
        host = f"http://{self.headers['Host']}"
        if self.path == '/api/repos/create':
            given = json.loads(body)
            repo = f"{given.get('organization') or 'me'}/{given['name']}"
            self.asked.append(('private', given.get('private') or given.get('visibility') == 'private'))
            self.folder('models', repo).mkdir(parents=True, exist_ok=True)
            return self.answer(dict(url=f'{host}/{repo}', name=repo))
        if self.path == '/api/validate-yaml': return self.answer(dict(errors=[], warnings=[]))
        if '/preupload/' in self.path: return self.answer(dict(files=[dict(path=f['path'], uploadMode='regular', shouldIgnore=False) for f in json.loads(body)['files']]))
        if m := re.fullmatch(r'/api/models/([^/]+/[^/]+)/commit/main', self.path.split('?')[0]):
            for line in map(json.loads, body.splitlines()):
                if line['key'] != 'file': continue
                to = self.folder('models', m[1])/line['value']['path']
                to.parent.mkdir(parents=True, exist_ok=True)
                to.write_bytes(base64.b64decode(line['value']['content']))
            return self.answer(dict(commitUrl=f'{host}/{m[1]}/commit/{COMMIT}', commitOid=COMMIT))
        self.missing()


def start(root):
    "A hub over a folder; give (address, what is asked of it, the server)."
    hub = type('OwnHub', (Hub,), dict(root=Path(root), asked=[]))
    server = ThreadingHTTPServer(('127.0.0.1', 0), hub)
    Thread(target=server.serve_forever, daemon=True).start()
    return f'http://127.0.0.1:{server.server_port}', hub.asked, server
