/** `node scripts/release-version.mjs v1.2.3`: fails unless the tag of a release is the version of everything in it. */
import { versionProblems } from './lib/versions.mjs';

const [tag] = process.argv.slice(2);
if (tag === undefined || !/^v\d+\.\d+\.\d+(-[\w.]+)?$/.test(tag)) {
  console.error('a tag such as v1.2.3 is needed');
  process.exitCode = 1;
} else {
  const problems = versionProblems(tag);
  for (const problem of problems) {
    console.error(problem);
  }
  process.exitCode = problems.length === 0 ? 0 : 1;
}
