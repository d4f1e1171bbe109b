/**
 * `node scripts/publish.mjs FOLDER v1.2.3 [-- OPTIONS]`: publishes the packages of a release to npm, the platforms' before pgtls; can be repeated.
 *
 * OPTIONS go to `npm publish`. A prerelease such as v1.2.3-rc.1 becomes `pgtls@next`.
 */
import { packagesIn, publishAll } from './lib/publishing.mjs';

const [folder, tag, separator, ...options] = process.argv.slice(2);
if (folder === undefined || tag === undefined || !['--', undefined].includes(separator)) {
  console.error('usage: node scripts/publish.mjs FOLDER v1.2.3 [-- OPTIONS]');
  process.exitCode = 2;
} else {
  try {
    publishAll(packagesIn(folder, tag.replace(/^v/, '')), options);
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}
