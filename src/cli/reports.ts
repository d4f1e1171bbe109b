/**
 * The commands that print something and end: `validate`, `doctor`, `init`, `completion`, `help`, `--version`. Loaded for them only.
 */
import { loadConfig } from '../config/parse.ts';
import { EXIT_CODES } from './arguments.ts';
import { completionScript } from './completion.ts';
import { canRun, diagnose, formatExamination } from './doctor.ts';
import { diagnosticText } from './error-text.ts';
import { helpText } from './help.ts';
import { type CliHost, type CliModules, type CommandOf, styleOf } from './host.ts';
import { load, packageVersion } from './loaded.ts';
import { formatRoutes, formatValid } from './route-report.ts';
import { nextSteps, writeStarter } from './starter.ts';

/** Runs the command and returns its exit code. */
export async function report(
  command: CommandOf<'validate' | 'doctor' | 'init' | 'completion' | 'help' | 'version'>,
  host: CliHost,
  modules: CliModules,
): Promise<number> {
  const style = styleOf(host, 'stdout');
  switch (command.kind) {
    case 'validate':
      return validate(command, host, modules);
    case 'doctor':
      return doctor(command, host, modules);
    case 'version':
      return printVersion(host, modules);
    case 'init':
      writeStarter(command.configPath, command.isForced);
      host.write(nextSteps(command.configPath, style));
      return EXIT_CODES.fine;
    case 'completion':
      host.write(completionScript(command.shell));
      return EXIT_CODES.fine;
    case 'help':
      host.write(helpText(command.topic, style));
      return EXIT_CODES.fine;
  }
}

async function validate(
  { configPath }: CommandOf<'validate'>,
  host: CliHost,
  modules: CliModules,
): Promise<number> {
  const { config, warnings, inspection } = await load(configPath, 'error', host, modules);
  for (const warning of warnings) {
    const text = diagnosticText(configPath, warning, 'warning', styleOf(host, 'stderr'));
    host.writeError(`${text}\n`);
  }
  const style = styleOf(host, 'stdout');
  host.write(formatRoutes(config, inspection.identities, host.nowMillis(), style));
  host.write(formatValid(configPath, config.proxies.length, warnings.length, style));
  return EXIT_CODES.fine;
}

async function doctor(
  { configPath }: CommandOf<'doctor'>,
  host: CliHost,
  modules: CliModules,
): Promise<number> {
  const config = configPath === null ? null : loadConfig(configPath, host.environment).config;
  const native = await modules.loadNative();
  const examination = diagnose(packageVersion(), host.machine, native, config);
  host.write(formatExamination(examination, styleOf(host, 'stdout')));
  return canRun(examination) ? EXIT_CODES.fine : EXIT_CODES.binding;
}

async function printVersion(host: CliHost, modules: CliModules): Promise<number> {
  const version = `pgtls ${packageVersion()}`;
  try {
    const { rustls, provider, target } = (await modules.loadNative()).buildInfo();
    host.write(
      `${version} (rustls ${rustls}, ${provider}, ${target}, Node.js ${host.machine.nodeVersion})\n`,
    );
    return EXIT_CODES.fine;
  } catch (error) {
    host.write(`${version} (no native binding, Node.js ${host.machine.nodeVersion})\n`);
    throw error;
  }
}
