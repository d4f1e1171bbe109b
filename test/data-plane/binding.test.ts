/** Finding and loading the addon, and what is said when that fails; docs/troubleshooting.md shows each of these messages. */
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { describe, expect, it, onTestFinished } from 'vitest';
import { targets } from '../../scripts/lib/platforms.mjs';
import { loadBindingFor, thisHost } from '../../src/data-plane/binding.ts';
import { type BindingHost, OLDEST_GLIBC, PLATFORMS } from '../../src/data-plane/binding-errors.ts';
import { PgtlsError } from '../../src/errors.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const BINDING = 'crates/pgtls-napi/binding';
const VERSION: string = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')).version;
const FILE = readdirSync(join(ROOT, BINDING)).find((name) => name.endsWith('.node')) ?? '';
const PLATFORM = FILE.split('.')[1] ?? '';
const PACKAGE = `@pgtls/${PLATFORM}`;
const TROUBLESHOOTING = readFileSync(join(ROOT, 'docs/troubleshooting.md'), 'utf8');

/** Where pgtls is installed, as far as its loader looks. */
class Installation {
  readonly directory = mkdtempSync(join(tmpdir(), 'pgtls-binding-'));
  readonly own = join(this.directory, 'node_modules/pgtls');

  constructor(version: string = VERSION) {
    onTestFinished(() => rmSync(this.directory, { recursive: true }));
    mkdirSync(this.own, { recursive: true });
    writeFileSync(join(this.own, 'package.json'), JSON.stringify({ name: 'pgtls', version }));
  }

  /** As npm installs it beside pgtls. */
  addPackage(version: string, contents: Buffer | null, file = FILE): this {
    const folder = join(this.directory, 'node_modules', PACKAGE);
    mkdirSync(folder, { recursive: true });
    const manifest = { name: PACKAGE, version, main: file };
    writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest));
    if (contents === null) {
      symlinkSync(join(ROOT, BINDING, FILE), join(folder, file));
    } else {
      writeFileSync(join(folder, file), contents);
    }
    return this;
  }

  spoilManifest(text: string): void {
    writeFileSync(join(this.directory, 'node_modules', PACKAGE, 'package.json'), text);
  }

  /** As `npm run build:addon` leaves it in a clone. */
  addOwn(): this {
    mkdirSync(join(this.own, BINDING), { recursive: true });
    symlinkSync(join(ROOT, BINDING, FILE), join(this.own, BINDING, FILE));
    return this;
  }

  asWorkingCopy(): this {
    mkdirSync(join(this.own, 'crates/pgtls-napi'), { recursive: true });
    cpSync(
      join(ROOT, 'crates/pgtls-napi/Cargo.toml'),
      join(this.own, 'crates/pgtls-napi/Cargo.toml'),
    );
    return this;
  }

  host(other: Partial<BindingHost> = {}): BindingHost {
    return { ...thisHost(), packageDirectory: this.own, ...other };
  }
}

/** The lines of the error's message; also that it says what every one has to say, and that the document shows it. */
function complaint(host: BindingHost): string[] {
  return complaintOf(() => loadBindingFor(host), host);
}

function complaintOf(load: () => unknown, host: BindingHost): string[] {
  let error: unknown;
  try {
    load();
  } catch (thrown) {
    error = thrown;
  }
  expect(error).toBeInstanceOf(PgtlsError);
  expect(error).toMatchObject({ code: 'PGTLS_BINDING_MISSING' });
  const { message } = error as PgtlsError;
  const lines = message.split('\n');
  expect(lines[0]).toMatch(/^the native binding does not load: /);
  expect(lines[1]).toMatch(
    new RegExp(
      `^platform ${host.platform}-${host.architecture}, libc (glibc|musl|of) .*, Node.js v`,
    ),
  );
  expect(lines[1]).toContain(process.version);
  // One remedy, the last line; the document has it as it is, but for the version.
  expect(TROUBLESHOOTING).toContain((lines.at(-1) ?? '').replaceAll(VERSION, '1.2.3'));
  return lines;
}

describe('the binding that fits', () => {
  it("is that of the platform's package, of pgtls's own version", () => {
    const installation = new Installation().addPackage(VERSION, null);
    const { binding, file } = loadBindingFor(installation.host());
    expect(binding.buildInfo().version).toBe(VERSION);
    expect(file).toBe(join(installation.directory, 'node_modules', PACKAGE, FILE));
  });

  it('is the one built in a clone before any that is installed', () => {
    const installation = new Installation().asWorkingCopy().addOwn().addPackage('0.0.1', null);
    expect(loadBindingFor(installation.host()).file).toBe(join(installation.own, BINDING, FILE));
  });

  it('is made for the platforms that package.json names', () => {
    expect(PLATFORMS).toEqual(
      targets()
        .map(({ name }) => name)
        .sort(),
    );
    expect(PLATFORMS).toContain(PLATFORM);
  });
});

describe('a binding that does not load', () => {
  it('because no package of the platform is installed: every place is named', () => {
    const installation = new Installation();
    const lines = complaint(installation.host());
    expect(lines[0]).toMatch(`the package ${PACKAGE} is not installed`);
    expect(lines[2]).toBe(`looked for ${join(installation.own, BINDING, FILE)}`);
    expect(lines[3]).toContain(`looked for ${PACKAGE} in `);
    expect(lines[3]).toContain(join(installation.directory, 'node_modules'));
    expect(lines[4]).toContain('npm install --include=optional');
  });

  it('because it is not built yet, in a clone', () => {
    const lines = complaint(new Installation().asWorkingCopy().host());
    expect(lines[0]).toContain('not built yet');
    expect(lines.at(-1)).toContain('npm run build:addon');
  });

  it('because there is none for the platform', () => {
    const host = new Installation().host({
      architecture: 'riscv64',
      libc: 'gnu',
      platform: 'linux',
    });
    const lines = complaint(host);
    expect(lines[0]).toContain('no binary for linux-riscv64-gnu, only for darwin-arm64, ');
  });

  it('because there is none for Windows', () => {
    const host = new Installation().host({ platform: 'win32', architecture: 'x64', libc: null });
    expect(complaint(host).at(-1)).toContain('WSL');
  });

  it('because its package is of another version: it is not even opened', () => {
    const installation = new Installation().addPackage('0.0.1', Buffer.from('never read'));
    const lines = complaint(installation.host());
    expect(lines[0]).toContain(`${PACKAGE} is version 0.0.1, and pgtls is version ${VERSION}`);
    expect(lines.at(-1)).toContain(`pgtls@${VERSION}`);
  });

  it('because it says itself that it is of another version', () => {
    const installation = new Installation('99.0.0').asWorkingCopy().addOwn();
    const [first] = complaint(installation.host());
    expect(first).toContain(`${FILE} is version ${VERSION}, and pgtls is version 99.0.0`);
  });

  it('because the file is damaged, or for another machine: the dynamic linker is quoted first', () => {
    const installation = new Installation().addPackage(
      VERSION,
      Buffer.from('no library\n'.repeat(99)),
    );
    const lines = complaint(installation.host());
    expect(lines[0]).toMatch(/load: .*pgtls\..*\.node.*(ELF|not a mach-o)/);
  });

  it.runIf(PLATFORM.endsWith('-gnu'))('because the glibc is too old', () => {
    const library = readFileSync(join(ROOT, BINDING, FILE));
    const version = library.indexOf('GLIBC_2.28\0');
    library.write('GLIBC_9.99', version);
    const lines = complaint(new Installation().addPackage(VERSION, library).host());
    expect(lines[0]).toMatch(/version `GLIBC_9\.99' not found/);
    expect(lines.at(-1)).toContain(`glibc ${OLDEST_GLIBC} or newer`);
  });

  it.each([
    [
      'ERR_DLOPEN_DISABLED',
      'Cannot load native addon because loading addons is disabled.',
      'no-addons',
    ],
    ['ERR_DLOPEN_FAILED', `/x/${FILE}: failed to map segment from shared object`, '`noexec`'],
    [
      'ERR_DLOPEN_FAILED',
      `Error loading shared library /x/${FILE}: Operation not permitted`,
      '`noexec`',
    ],
    [
      'ERR_DLOPEN_FAILED',
      `/x/${FILE}: cannot open shared object file: Permission denied`,
      'Let the user that runs pgtls read',
    ],
  ])('because of %s: %j', (code, message, remedy) => {
    const file = 'refused.cjs';
    const text = `throw Object.assign(new Error(${JSON.stringify(message)}), { code: '${code}' })`;
    const installation = new Installation().addPackage(VERSION, Buffer.from(text), file);
    const lines = complaint(installation.host());
    expect(lines[0]).toBe(`the native binding does not load: ${message}`);
    expect(lines.at(-1)).toContain(remedy);
  });

  it.each([
    // The words are those of Node.js, and differ: version 20 speaks of parsing, later ones of an invalid package config.
    ['not json', /(Error parsing|Invalid package config) .*package\.json/],
    ['{}', /package\.json names no package and version/],
    [JSON.stringify({ name: PACKAGE, version: VERSION }), /package\.json names no binary/],
  ])('because the package.json of its package is %j', (text, what) => {
    const installation = new Installation().addPackage(VERSION, null);
    installation.spoilManifest(text);
    const lines = complaint(installation.host());
    expect(lines[0]).toMatch(`load: the package ${PACKAGE} is damaged: `);
    expect(lines[0]).toMatch(what);
    expect(lines.at(-1)).toContain('install pgtls again');
  });

  it('because a bundler has taken the code out of its package', () => {
    const host = new Installation().host();
    const elsewhere = new Installation();
    for (const manifest of [
      '{}',
      '{ "name": "app", "imports": { "#package": "./package.json" } }',
    ]) {
      writeFileSync(join(elsewhere.own, 'package.json'), manifest);
      const module = pathToFileURL(join(elsewhere.own, 'dist/app.mjs')).href;
      for (const place of [module, '']) {
        const lines = complaintOf(() => thisHost(place), host);
        expect(lines[0]).toContain('is not in its package');
        expect(lines[2]).toBe(`looked for the package.json of pgtls above ${place}`);
        expect(lines.at(-1)).toContain('`--external:pgtls`');
      }
    }
  });
});
