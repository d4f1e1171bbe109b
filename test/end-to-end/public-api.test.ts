/** The public API as built: docs/api.md has every name and event of it and no other, and a consumer's program compiles against it. */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const DOC = readFileSync(join(ROOT, 'docs/api.md'), 'utf8');

function declarations(file: string): string {
  return readFileSync(join(ROOT, 'dist', file.replace(/\.ts$/, '.d.ts')), 'utf8');
}

/** What dist/index.d.ts exports, through `export *`, too. */
function exportedNames(): string[] {
  const index = declarations('index.ts');
  const lists = index.matchAll(/export (?:type )?\{([^}]*)\} from/g);
  const named = [...lists].flatMap(([, list = '']) =>
    list.split(',').map((name) => name.trim().replace(/^type /, '')),
  );
  const stars = index.matchAll(/export (?:type )?\* from '\.\/(.*)'/g);
  const whole = [...stars].flatMap(([, file = '']) => exportsOf(declarations(file)));
  return [...named, ...whole].filter((name) => name !== '').sort();
}

function exportsOf(text: string): string[] {
  const found = text.matchAll(
    /^export (?:declare )?(?:interface|type|const|class|function) (\w+)/gm,
  );
  return [...found].map(([, name = '']) => name);
}

/** Names of members of an interface in a file of dist/. */
function membersOf(file: string, name: string): string[] {
  const [, body = ''] = declarations(file).split(new RegExp(`interface ${name} .*\\{\n`));
  const [own = ''] = body.split('\n}');
  const found = own.matchAll(/^ {4}(?:readonly )?(\w+|\[[\w.]+\])[<(:?]/gm);
  return [...found].map(([, member = '']) => member);
}

function section(heading: string): string {
  const [, text = ''] = DOC.split(`\n## ${heading}\n`);
  return text.split('\n## ')[0] ?? '';
}

function headings(text: string): string[] {
  return [...text.matchAll(/^### `(\w+|\[[\w.]+\])/gm)].map(([, name = '']) => name);
}

function rows(text: string): string[][] {
  const lines = text.split('\n').filter((line) => line.startsWith('| `'));
  return lines.map((line) =>
    line.split(' | ').map((cell) => cell.replaceAll(/^\| |`/g, '').trim()),
  );
}

describe('docs/api.md', () => {
  const types = rows(section('Types'));

  test('has every exported name, and no other', () => {
    const documented = [
      ...headings(section('Functions and classes')),
      'PgtlsProxy',
      ...types.map(([name = '']) => name),
    ];
    expect(documented.sort()).toEqual(exportedNames());
  });

  test('says of every type how stable it is', () => {
    expect(types.filter(([, word]) => word !== 'stable' && word !== 'experimental')).toEqual([]);
    expect(types.length).toBeGreaterThan(30);
  });

  test('has every member of a proxy, every option and every event', () => {
    const proxy = section('`PgtlsProxy`');
    expect(headings(proxy)).toEqual(
      membersOf('proxy/library/create-proxy.ts', 'PgtlsProxy').sort(inOrderOf(headings(proxy))),
    );
    expect(rows(section('Functions and classes')).map(([name]) => name)).toEqual(
      membersOf('proxy/library/options.ts', 'CreateProxyOptions'),
    );
    expect(rows(proxy).map(([name]) => name)).toEqual(
      membersOf('proxy/library/events.ts', 'PgtlsProxyEvents'),
    );
  });
});

function inOrderOf(names: readonly string[]): (left: string, right: string) => number {
  return (left, right) => names.indexOf(left) - names.indexOf(right);
}

test('what documents and examples import from pgtls is there', () => {
  const files = ['docs', 'examples'].flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => /\.(md|mjs)$/.test(name))
      .map((name) => join(folder, name)),
  );
  const imports = [...files, 'README.md'].flatMap((file) =>
    [
      ...readFileSync(join(ROOT, file), 'utf8').matchAll(/import \{([^}]*)\} from 'pgtls'/g),
    ].flatMap(([, names = '']) => names.split(',').map((name) => name.trim())),
  );
  expect(imports.length).toBeGreaterThan(4);
  expect(exportedNames()).toEqual(expect.arrayContaining(imports));
});

test("a consumer's program compiles against what is published, under the strictest options", () => {
  const tsc = join(ROOT, 'node_modules/.bin/tsc');
  const project = join(ROOT, 'test/types/tsconfig.json');
  const { status, stdout } = spawnSync(tsc, ['-p', project], { cwd: ROOT, encoding: 'utf8' });
  expect(stdout).toBe('');
  expect(status).toBe(0);
});
