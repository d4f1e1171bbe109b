/** examples/docker: the Dockerfile against the repository, compose.yaml against Compose's schema, and what must agree between files. */
import { execFileSync, spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DCLinter } from 'dclint';
import { describe, expect, onTestFinished, test } from 'vitest';
import { cargoProblem } from '../../scripts/lib/requirements.mjs';
import { loadConfig } from '../../src/config/parse.ts';
import { readImage } from '../support/docker-image.ts';
import { manifest, podOf, ROOT, readYaml } from '../support/examples.ts';

const DOCKER = join(ROOT, 'examples/docker');

interface ComposeService {
  readonly command?: readonly string[];
  readonly depends_on?: Readonly<Record<string, { condition: string }>>;
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
  readonly build?: { readonly context: string; readonly dockerfile: string };
  readonly [key: string]: unknown;
}

interface Compose {
  readonly services: Readonly<Record<'certificates' | 'postgres' | 'pgtls', ComposeService>>;
  readonly volumes: Readonly<Record<string, unknown>>;
}

/** Makes the certificates as the service `certificates` does, for this process's user. */
function makeCertificates(directory: string): void {
  mkdirSync(directory, { recursive: true });
  const script = join(DOCKER, 'make-certificates.sh');
  const user = String(process.getuid?.());
  execFileSync('sh', [script, directory, 'localhost', user], { stdio: 'pipe' });
}

/** Writes the configuration with the directory in the place of /etc/pgtls. */
function writeLocated(directory: string, toml: string): string {
  const file = join(directory, 'pgtls.toml');
  writeFileSync(file, toml.replaceAll('"/etc/pgtls/', `"${directory}/`));
  return file;
}

/** What a Compose file has against Compose's schema. */
function schemaErrors(file: string): unknown[] {
  const linter = new DCLinter({ rules: {}, quiet: true, debug: false, exclude: [] });
  // Its declarations name no file extensions, so that nodenext finds none of them.
  const results: readonly { messages: readonly { rule: string }[] }[] = linter.lintFiles(
    [file],
    false,
  );
  return results.flatMap(({ messages }) =>
    messages.filter(({ rule }) => rule === 'invalid-schema'),
  );
}

function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'pgtls-docker-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

describe('the Dockerfile', () => {
  const image = readImage();
  const packageJson = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));

  test('copies only what is in the repository and in the build context', () => {
    const sources = image.copies
      .filter(({ from }) => from === null)
      .flatMap((copy) => copy.sources);
    const ignored = readFileSync(join(DOCKER, 'Dockerfile.dockerignore'), 'utf8');
    const admitted = [...ignored.matchAll(/^!(.+)$/gm)].map(([, path = '']) => path);
    expect(sources.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
    expect([...new Set(sources)].sort()).toEqual(admitted.sort());
    expect(ignored).toMatch(/^\*$/m);
  });

  test('copies from stages that it has, what they have', () => {
    const stages = image.stages.map(({ name }) => name);
    const named = image.copies.flatMap(({ from }) => from ?? []);
    expect(named.filter((stage) => !stages.includes(stage))).toEqual([]);
  });

  test('builds with the oldest Rust that Cargo.toml admits, and the scripts that package.json has', () => {
    const base = image.stages.find(({ name }) => name === 'build')?.base ?? '';
    const [, version = ''] = /^rust:(\d+\.\d+)-/.exec(base) ?? [];
    const [, wanted] =
      /^rust-version = "(.+)"$/m.exec(readFileSync(join(ROOT, 'Cargo.toml'), 'utf8')) ?? [];
    expect(version).toBe(wanted);
    expect(cargoProblem(`cargo ${version}.0`, wanted ?? '')).toBeNull();
    const scripts = [...image.text.matchAll(/npm run (\S+)/g)].map(([, name = '']) => name);
    expect(scripts).toEqual(['build:addon', 'build:ts']);
    expect(Object.keys(packageJson.scripts)).toEqual(expect.arrayContaining(scripts));
  });

  test('runs a Node.js that package.json admits', () => {
    const base = image.stages.find(({ name }) => name === 'node')?.base ?? '';
    const [, major = '0'] = /^node:(\d+)-/.exec(base) ?? [];
    const [, minimum = ''] = /^>=(\d+)\./.exec(packageJson.engines.node) ?? [];
    // Even numbers are those with long-term support.
    expect(Number(major) % 2).toBe(0);
    expect(Number(major)).toBeGreaterThanOrEqual(Number(minimum));
  });

  test('runs as a numeric user, which is the one of the manifests', () => {
    expect(image.user).toBe('10001:10001');
    const { pod } = podOf(manifest('Deployment'));
    expect(image.user).toBe(`${pod.securityContext?.runAsUser}:${pod.securityContext?.runAsGroup}`);
  });

  test('ends in an image without npm and cargo', () => {
    const last = image.text.slice(image.text.lastIndexOf('\nFROM '));
    expect(last).not.toMatch(/npm|cargo|node_modules|apt-get/);
    expect(image.entrypoint).toEqual(['pgtls']);
    expect(image.command).toEqual(['-c', '/etc/pgtls/pgtls.toml']);
  });
});

describe('compose.yaml', () => {
  const [compose] = readYaml(join(DOCKER, 'compose.yaml')) as [Compose];
  const { certificates, postgres, pgtls } = compose.services;

  test('is valid by the schema of Compose', () => {
    const file = join(DOCKER, 'compose.yaml');
    expect(schemaErrors(file)).toEqual([]);
    const misspelt = join(temporaryDirectory(), 'compose.yaml');
    writeFileSync(misspelt, readFileSync(file, 'utf8').replace('read_only:', 'readonly:'));
    expect(schemaErrors(misspelt)).not.toEqual([]);
  });

  test('starts pgtls when there are certificates and a server, without rights and without a place to write', () => {
    expect(pgtls.depends_on).toEqual({
      certificates: { condition: 'service_completed_successfully' },
      postgres: { condition: 'service_healthy' },
    });
    expect(pgtls).toMatchObject({
      read_only: true,
      cap_drop: ['ALL'],
      security_opt: ['no-new-privileges:true'],
    });
    expect(postgres.ports).toBeUndefined();
    expect(postgres).toHaveProperty('healthcheck');
    expect(certificates).toMatchObject({ network_mode: 'none' });
  });

  test('mounts and builds what is there', () => {
    const bound = Object.values(compose.services)
      .flatMap(({ volumes = [] }) => volumes)
      .map((volume) => volume.split(':')[0] ?? '');
    const files = bound.filter((path) => path.startsWith('.'));
    expect(files.filter((path) => !existsSync(join(DOCKER, path)))).toEqual([]);
    const named = bound.filter((path) => !path.startsWith('.'));
    expect([...new Set(named)].sort()).toEqual(Object.keys(compose.volumes).sort());
    const { context = '', dockerfile = '' } = pgtls.build ?? {};
    expect(existsSync(join(DOCKER, context, dockerfile))).toBe(true);
  });

  test.skipIf(spawnSync('openssl', ['version']).status !== 0)(
    'has a certificate made that pgtls takes for its configuration, ports and times agree',
    () => {
      const directory = temporaryDirectory();
      makeCertificates(join(directory, 'tls'));
      const { config, warnings } = loadConfig(
        writeLocated(directory, readFileSync(join(DOCKER, 'pgtls.toml'), 'utf8')),
        {},
      );
      expect(warnings).toEqual([]);
      const [bind] = config.proxies[0]?.listener.bindAddresses ?? [];
      expect(bind?.kind === 'tcp' && pgtls.ports).toEqual([
        `127.0.0.1:6432:${bind?.kind === 'tcp' ? bind.port : 0}`,
      ]);
      expect(config.proxies[0]?.backend.addresses).toEqual([
        { kind: 'tcp', host: 'postgres', port: 5432 },
      ]);
      const grace = Number(/^(\d+)s$/.exec(String(pgtls['stop_grace_period']))?.[1]) * 1000;
      expect(grace).toBeGreaterThan(config.shutdownDelayMillis + config.shutdownTimeoutMillis);
      const { host, port } = config.admin?.bindAddress ?? { host: '', port: 0 };
      expect(readImage().healthcheck.join(' ')).toContain(`http://${host}:${port}/healthz`);
    },
  );

  test.skipIf(spawnSync('openssl', ['version']).status !== 0)(
    'makes certificates once, for the user of the image, and leaves no key of the CA',
    () => {
      const directory = temporaryDirectory();
      makeCertificates(directory);
      const [ca, leaf] = ['ca.crt', 'tls.crt'].map(
        (name) => new X509Certificate(readFileSync(join(directory, name))),
      );
      expect(leaf?.checkHost('localhost')).toBe('localhost');
      expect(ca?.ca && leaf?.verify(ca.publicKey)).toBe(true);
      expect(existsSync(join(directory, 'ca.key'))).toBe(false);
      expect(statSync(join(directory, 'tls.key')).mode & 0o777).toBe(0o400);
      makeCertificates(directory);
      expect(readFileSync(join(directory, 'tls.crt'), 'utf8')).toBe(leaf?.toString());
      expect(certificates.command).toEqual(['/tls', 'localhost', readImage().user.split(':')[0]]);
    },
  );
});
