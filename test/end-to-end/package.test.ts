/** What npm would publish: the bundle, its types, and nothing that names another place. */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';
import { describe, expect, onTestFinished, test } from 'vitest';
import * as source from '../../src/index.ts';
import { PROGRAM } from '../support/running-proxy.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const DIST = join(ROOT, 'dist');

/** Those that are here. */
const SHELLS = [['/bin/dash'], ['/bin/bash'], ['/bin/busybox', 'sh']].filter(([program = '']) =>
  existsSync(program),
);

/** The files of dist/ that `file` imports statically, itself included. */
function loadedBy(file: string, known = new Set<string>()): Set<string> {
  if (!known.has(file)) {
    known.add(file);
    for (const [, path = ''] of readFileSync(file, 'utf8').matchAll(/^.* from "(\..*)";$/gm)) {
      loadedBy(join(dirname(file), path), known);
    }
  }
  return known;
}

describe('the bundle', () => {
  test('exports what src/index.ts does, with types beside it', async () => {
    const built = await import(join(DIST, 'index.js'));
    expect(Object.keys(built).sort()).toEqual(Object.keys(source).sort());
    expect(existsSync(join(DIST, 'index.d.ts'))).toBe(true);
  });

  test('lets --help load a handful of files, and neither proxy nor demo', () => {
    const files = [...loadedBy(PROGRAM)].map((file) => file.slice(DIST.length + 1));
    expect(files).toContain('cli/main.js');
    expect(files.length).toBeLessThan(9);
    expect(files.filter((file) => /proxy|demo|postgres|data-plane|logger/.test(file))).toEqual([]);
  });

  test('has a head that any shell makes Node.js of, in the same process, with its options and what it was given', () => {
    const folder = mkdtempSync(join(tmpdir(), 'pgtls-head-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const fakeNode = '#!/bin/sh\nprintf "%s\\n" "$$" "$@"\nexit 7\n';
    writeFileSync(join(folder, 'node'), fakeNode, { mode: 0o755 });
    const link = join(folder, 'pgtls');
    symlinkSync(PROGRAM, link);
    const given = ['two words', '*', ''];
    for (const command of [[link], ...SHELLS.map((shell) => [...shell, link])]) {
      const [program = '', ...before] = command;
      const env = { PATH: folder };
      const ran = spawnSync(program, [...before, ...given], { env, encoding: 'utf8' });
      const lines = [String(ran.pid), '--max-semi-space-size=1', link, ...given, ''];
      expect({ command, ...ran }).toMatchObject({ stderr: '', status: 7 });
      expect(ran.stdout.split('\n')).toEqual(lines);
    }
  });

  test('is run by its head, through a link, and by Node.js itself', () => {
    const folder = mkdtempSync(join(tmpdir(), 'pgtls-head-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const link = join(folder, 'pgtls');
    symlinkSync(PROGRAM, link);
    const env = { PATH: dirname(process.execPath) };
    for (const [program, ...args] of [
      [link, '--version'],
      [process.execPath, PROGRAM, '--version'],
    ] as const) {
      expect(execFileSync(program, args, { env, encoding: 'utf8' })).toMatch(/^pgtls \d/);
    }
    expect(spawnSync(link, ['--no-such-option'], { env }).status).toBe(2);
  });

  test('carries its sources in its source maps', () => {
    const map = JSON.parse(readFileSync(`${PROGRAM}.map`, 'utf8'));
    expect(map.sourcesContent).toHaveLength(map.sources.length);
    expect(map.sources.join()).toContain('src/cli/main.ts');
  });

  test('has no code of other packages, whose licences would have to come with it', () => {
    const files = readdirSync(DIST, { recursive: true, encoding: 'utf8' });
    const maps = files.filter((file) => file.endsWith('.js.map'));
    const sources = maps.flatMap((map) =>
      JSON.parse(readFileSync(join(DIST, map), 'utf8')).sources.map((source: string) =>
        relative(ROOT, resolve(DIST, dirname(map), source)),
      ),
    );
    expect(sources.length).toBeGreaterThan(50);
    expect(sources.filter((path) => !path.startsWith('src/'))).toEqual([]);
  });

  test('says so when another bundler takes it out of its package', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'pgtls-bundled-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const input = join(folder, 'server.mjs');
    const library = join(DIST, 'index.js');
    const listener = { bind_address: '127.0.0.1:0', sslmode: 'disable' };
    const backend = { address: '127.0.0.1:1', sslmode: 'disable' };
    const config = { proxy: [{ name: 'bundled', listener, backend }] };
    writeFileSync(
      input,
      `import { createProxy } from ${JSON.stringify(library)};
       createProxy(${JSON.stringify(config)}).listen().catch((error) => console.log(error.message));`,
    );
    const bundle = await rolldown({ input, platform: 'node', logLevel: 'silent' });
    await bundle.write({ file: join(folder, 'out.mjs'), codeSplitting: false });
    await bundle.close();
    const ran = spawnSync(process.execPath, [join(folder, 'out.mjs')], { encoding: 'utf8' });
    expect(ran.stdout).toMatch(
      /^the native binding does not load: this copy of pgtls's code is not/,
    );
    expect(ran.stdout).toContain('esbuild: `--external:pgtls`');
  });

  test('is packed with every file that it imports, the types of the addon, the JSON schema and the manual pages, but not with its binary', () => {
    const output = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
      cwd: ROOT,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const [{ files }] = JSON.parse(output);
    const packed = files.map(({ path }: { path: string }) => path);
    const chunks = readdirSync(join(DIST, 'chunks')).map((name) => `dist/chunks/${name}`);
    const others = ['crates/pgtls-napi/binding/index.d.ts', 'schema/pgtls.schema.json'];
    expect(packed).toEqual(expect.arrayContaining([...chunks, 'dist/cli/main.js', ...others]));
    const { man } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
    expect(man.map((page: string) => page.slice('./'.length))).toEqual([
      'man/pgtls.1',
      'man/pgtls.toml.5',
    ]);
    expect(packed).toEqual(expect.arrayContaining(['man/pgtls.1', 'man/pgtls.toml.5']));
    expect(packed.filter((path: string) => path.endsWith('.node'))).toEqual([]);
    // Maps of types would point to sources that are not there.
    expect(packed.filter((path: string) => path.endsWith('.d.ts.map'))).toEqual([]);
  });
});
