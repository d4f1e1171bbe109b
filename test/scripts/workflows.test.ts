/** .github/workflows: what they name exists, and a release is published in the right order with no more rights than it needs. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseDocument } from 'yaml';
import { GLIBC_FLOOR } from '../../scripts/lib/platforms.mjs';
import { ROOT } from '../support/examples.ts';

interface Step {
  readonly uses?: string;
  readonly run?: string;
  readonly with?: Readonly<Record<string, unknown>>;
}

interface Matrix {
  readonly include?: readonly { target: string }[];
  readonly image?: readonly string[];
  readonly platform?: readonly string[];
}

interface Job {
  readonly needs?: string | readonly string[];
  readonly permissions?: Readonly<Record<string, string>>;
  readonly strategy?: { readonly matrix: Matrix };
  readonly steps: readonly Step[];
}

interface Workflow {
  readonly permissions: Readonly<Record<string, string>>;
  readonly jobs: Readonly<Record<string, Job>>;
}

const FOLDER = join(ROOT, '.github/workflows');
const FILES = readdirSync(FOLDER);
const PACKAGE = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));

function textOf(file: string): string {
  return readFileSync(join(FOLDER, file), 'utf8');
}

function workflow(file: string): Workflow {
  return parseDocument(textOf(file), { strict: true }).toJS();
}

function jobsOf(file: string): [string, Job][] {
  return Object.entries(workflow(file).jobs);
}

function needsOf({ needs = [] }: Job): readonly string[] {
  return typeof needs === 'string' ? [needs] : needs;
}

/** All jobs that have to succeed before this one begins. */
function jobsBefore(jobs: Workflow['jobs'], name: string): Set<string> {
  const direct = needsOf(jobs[name] ?? { steps: [] });
  return new Set(direct.flatMap((needed) => [needed, ...jobsBefore(jobs, needed)]));
}

describe.each(FILES)('%s', (file) => {
  const jobs = jobsOf(file);
  const steps = jobs.flatMap(([, job]) => job.steps);
  const commands = steps.flatMap(({ run = [] }) => run);

  it('is YAML, without repeated keys', () => {
    const { errors, warnings } = parseDocument(textOf(file), { uniqueKeys: true });
    expect([...errors, ...warnings]).toEqual([]);
  });

  it('runs scripts that are there', () => {
    const scripts = commands.flatMap((run) =>
      [...run.matchAll(/npm (?:run ([\w:]+)|(test)\b)/g)].map(
        ([, name, test]) => name ?? test ?? '',
      ),
    );
    expect(scripts.filter((name) => !Object.hasOwn(PACKAGE.scripts, name))).toEqual([]);
    const paths = commands.flatMap((run) =>
      [...run.matchAll(/(?:^|[\s/])((?:scripts\/|\.ci\/)[\w./-]+)/g)].map(([, path = '']) => path),
    );
    expect(paths.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
    expect(scripts.length + paths.length).toBeGreaterThan(0);
  });

  it('takes actions by version, and jobs that are there', () => {
    const actions = steps.flatMap(({ uses = [] }) => uses);
    expect(
      actions.filter((action) => !/^[\w-]+\/[\w-]+@(v\d+|[0-9a-f]{40})$/.test(action)),
    ).toEqual([]);
    const names = jobs.map(([name]) => name);
    expect(jobs.flatMap(([, job]) => needsOf(job)).filter((name) => !names.includes(name))).toEqual(
      [],
    );
  });

  it('reads only, unless a job says otherwise, and uses no secret', () => {
    expect(workflow(file).permissions).toEqual({ contents: 'read' });
    expect(textOf(file)).not.toContain('secrets.');
  });
});

describe('a release', () => {
  const { jobs } = workflow('release.yml');
  const runs = (name: string) =>
    (jobs[name]?.steps ?? []).flatMap(({ run = [] }) => run).join('\n');

  it('begins with the comparison of the tag with the versions', () => {
    expect(runs('version')).toContain('node scripts/release-version.mjs "$GITHUB_REF_NAME"');
    const others = Object.keys(jobs).filter((name) => name !== 'version');
    expect(others.filter((name) => !jobsBefore(jobs, name).has('version'))).toEqual([]);
  });

  it('builds every target of package.json', () => {
    const targets = jobs['binding']?.strategy?.matrix.include?.map(({ target }) => target);
    expect([...(targets ?? [])].sort()).toEqual([...PACKAGE.napi.targets].sort());
  });

  it('tries the packages with the oldest glibc, a newer one and musl, on both CPUs', () => {
    const { image = [], platform = [] } = jobs['try-linux']?.strategy?.matrix ?? {};
    // AlmaLinux 8 has glibc 2.28 for good.
    expect(GLIBC_FLOOR).toBe('2.28');
    expect(image).toEqual(
      expect.arrayContaining(['almalinux:8', 'node:24-bookworm', 'node:24-alpine']),
    );
    expect(platform).toEqual(['linux/amd64', 'linux/arm64']);
    expect(runs('try-linux')).toMatch(
      /\{\{ matrix\.image \}\} sh \/pgtls\/scripts\/try-packages\.sh$/,
    );
  });

  it('publishes what was tried, by the script that can be run again, and makes the GitHub release last', () => {
    for (const needed of ['test', 'binding', 'pack', 'try-linux', 'try-macos']) {
      expect([...jobsBefore(jobs, 'publish')]).toContain(needed);
    }
    expect(runs('publish')).toContain('node scripts/publish.mjs packages "$GITHUB_REF_NAME" -- ');
    expect(textOf('release.yml')).not.toContain('npm publish');
    expect([...jobsBefore(jobs, 'github-release')]).toContain('publish');
  });

  it('publishes with provenance, by an identity that only this job may ask for', () => {
    const identified = Object.keys(jobs).filter((name) => jobs[name]?.permissions?.['id-token']);
    expect(identified).toEqual(['publish']);
    expect(runs('publish')).toMatch(/publish\.mjs .* -- --provenance --access public$/m);
  });

  it('packs with the debug information, which comes under the same checksums', () => {
    const fetched = jobs['pack']?.steps.flatMap((step) => step.with?.['path'] ?? []);
    expect(fetched).toEqual(
      expect.arrayContaining(['target/package/bindings', 'target/package/debug']),
    );
  });

  it('compares the checksums of everything before it is published, anywhere', () => {
    for (const name of ['publish', 'github-release']) {
      expect(runs(name)).toMatch(/^cd packages && sha256sum --check --strict SHA256SUMS\n/);
    }
  });

  it('is a prerelease of GitHub, too, when its version is one', () => {
    expect(runs('github-release')).toContain("contains(github.ref_name, '-') && '--prerelease'");
  });
});
