import { parseArgs } from 'node:util';
import { VARIABLES } from '../config/env.ts';
import { explain } from './explain.ts';

/** A command of `npm run`: it takes `--help` and perhaps switches. */
export interface Command<Switch extends string> {
  readonly help: string;
  readonly switches?: readonly Switch[];
  run(switches: ReadonlySet<string>): Promise<void>;
}

/** Runs a command. Help goes to standard output; a failure is one message on standard error, with exit code 1. */
export function runCommand<Switch extends string>({ help, switches = [], run }: Command<Switch>): void {
  start().catch((error: unknown) => {
    console.error(explain(error));
    process.exit(1);
  });

  async function start(): Promise<void> {
    const names = [...switches, 'help'];
    const options = Object.fromEntries(
      names.map((name) => [name, { type: 'boolean' as const, ...(name === 'help' ? { short: 'h' } : {}) }]),
    );
    const { values } = parsed(options);
    if (values.help === true) console.log(help);
    else await run(new Set(names.filter((name) => values[name] === true)));
  }
}

type Options = Record<string, { type: 'boolean'; short?: string }>;

/** @throws {Error} that says what to do instead, if an argument is none of the options */
function parsed(options: Options) {
  try {
    return parseArgs({ options });
  } catch (error) {
    const [, flag = ''] = /'(--?[\w-]+)/.exec(error instanceof Error ? error.message : '') ?? [];
    const name = flag.replace(/^-+/, '').replaceAll('-', '_').toUpperCase();
    const known = VARIABLES.includes(name) ? ` Set the variable ${name}, in the environment or in .env.` : '';
    const what = flag === '' ? 'There are no arguments, only options' : `There is no option ${flag}`;
    throw new Error(`${what}.${known} --help says what there is.`, { cause: error });
  }
}
