/** The public API as built: docs/api.md has every name and event of it and no other, and a consumer's program compiles against it. */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { declarations, exportedFrom, type Member, membersOf } from '../support/declarations.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const DOC = readFileSync(join(ROOT, 'docs/api.md'), 'utf8');
const HOOKS = readFileSync(join(ROOT, 'docs/hooks.md'), 'utf8');

/** What dist/index.d.ts exports, through `export *`, too. */
function exportedNames(): string[] {
  return exportedFrom()
    .flatMap(({ names }) => names)
    .sort();
}

/** Names of members of an interface in a file of dist/. */
function namesIn(file: string, name: string): string[] {
  return (membersOf(file, name) ?? []).map((member) => member.name.replace('?', ''));
}

function section(heading: string, document = DOC): string {
  const [, text = ''] = document.split(`\n## ${heading}\n`);
  return text.split('\n## ')[0] ?? '';
}

function headings(text: string): string[] {
  return [...text.matchAll(/^### `(\w+|\[[\w.]+\])/gm)].map(([, name = '']) => name);
}

function rows(text: string): string[][] {
  const lines = text.split('\n').filter((line) => line.startsWith('| `'));
  return lines.map((line) =>
    line.split(' | ').map((cell) =>
      cell
        .replaceAll(/^\| |`/g, '')
        .replaceAll('\\|', '|')
        .trim(),
    ),
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
      namesIn('proxy/library/create-proxy.ts', 'PgtlsProxy').sort(inOrderOf(headings(proxy))),
    );
    expect(rows(section('Functions and classes')).map(([name]) => name)).toEqual(
      namesIn('proxy/library/options.ts', 'CreateProxyOptions'),
    );
    expect(rows(proxy).map(([name]) => name)).toEqual(
      namesIn('proxy/library/events.ts', 'PgtlsProxyEvents'),
    );
  });
});

describe('the fields of every exported interface', () => {
  /** Whose members have a table of another form, or headings. */
  const elsewhere = ['PgtlsProxy', 'PgtlsProxyEvents', 'CreateProxyOptions', 'ProxyHooks'];
  const [fields, told] = [section('Fields'), section('What hooks are told', HOOKS)];
  const interfaces = exportedFrom().flatMap(({ file, names }) =>
    // The keys of a configuration are those of docs/config.md.
    names.flatMap((name) => (file === 'config/input.ts' ? [] : [[name, file] as const])),
  );
  /** Nothing of what `refuse` returns is to be read. */
  const tables = interfaces.flatMap(([name, file]): (readonly [string, Member[]])[] => {
    const members = membersOf(file, name);
    const isOpaque = members?.every((member) => member.name.startsWith('[')) ?? true;
    return isOpaque || elsewhere.includes(name) ? [] : [[name, members ?? []]];
  });

  test.each(tables)('are in the documents with their types, and no other: %s', (name, members) => {
    const [, text = ''] = `${fields}${told}`.split(`\n### \`${name}\`\n`);
    const found = rows(text.split('\n### ')[0] ?? '').map(([field = '', type = '', meaning]) => {
      expect(meaning).toMatch(/\S.*\. +\|$/);
      return { name: field, type };
    });
    expect(found).toEqual(members);
  });

  test('have no table of what is not exported', () => {
    const documented = [...headings(fields), ...headings(told)];
    expect(documented.sort()).toEqual(tables.map(([name]) => name).sort());
    expect(documented.length).toBeGreaterThan(20);
  });

  test('include the hooks, and what each is told', () => {
    const hooks = membersOf('proxy/hooks.ts', 'ProxyHooks') ?? [];
    const argument = /\(\w+: (\w+)\)/;
    const [text = ''] = HOOKS.split('\n## What hooks are told\n');
    const listed = rows(text).map(([name, , type]) => [name, type]);
    const wanted = hooks.map(({ name, type }) => [name.replace('?', ''), argument.exec(type)?.[1]]);
    expect(listed.sort()).toEqual(wanted.sort());
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
    ].flatMap(([, names = '']) =>
      names.split(',').map((name) => name.trim().replace(/^type /, '')),
    ),
  );
  expect(imports.length).toBeGreaterThan(4);
  expect(exportedNames()).toEqual(expect.arrayContaining(imports));
});

test("what the types need of another package is said in package.json, for those who don't use them not to install", () => {
  const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  expect(manifest.peerDependencies).toEqual({ '@types/node': '>=20' });
  expect(manifest.peerDependenciesMeta).toEqual({ '@types/node': { optional: true } });
  const foreign = exportedFrom().flatMap(({ file }) => [
    ...declarations(file).matchAll(/from '([^.'][^']*)'/g),
  ]);
  expect(foreign.map(([, name]) => name)).toEqual([]);
});

test("a consumer's program compiles against what is published, under the strictest options", () => {
  const tsc = join(ROOT, 'node_modules/.bin/tsc');
  const project = join(ROOT, 'test/types/tsconfig.json');
  const { status, stdout } = spawnSync(tsc, ['-p', project], { cwd: ROOT, encoding: 'utf8' });
  expect(stdout).toBe('');
  expect(status).toBe(0);
});
