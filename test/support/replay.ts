import fc from 'fast-check';
import { z } from 'zod';

/*
 * A property that runs commands (`fc.commands`) is replayed by three things: the seed, the path to the counterexample, and
 * which of its commands had run (`replayPath`). Its failure prints all three as one variable, REPLAY, which repeats it.
 */

export interface Replay {
  readonly seed: number;
  readonly path: string;
  readonly replayPath: string;
}

const replay = z.strictObject({ seed: z.int(), path: z.string(), replayPath: z.string() });

/** What REPLAY asks to be repeated; null if it is not set. */
export function replayOf(environment: NodeJS.ProcessEnv = process.env): Replay | null {
  const { REPLAY } = environment;
  return REPLAY === undefined || REPLAY === '' ? null : replay.parse(JSON.parse(REPLAY));
}

/** Sequences of commands: any, or those of the failure to be repeated. */
export function commandsOf<Model extends object, Real>(
  commands: fc.Arbitrary<fc.AsyncCommand<Model, Real>>[],
  constraints: fc.CommandsContraints,
  repeated: Replay | null = replayOf(),
): fc.Arbitrary<Iterable<fc.AsyncCommand<Model, Real>>> {
  return fc.commands(commands, { ...constraints, ...(repeated === null ? {} : { replayPath: repeated.replayPath }) });
}

/**
 * `fc.assert` for a property of commands.
 * @throws {Error} if it fails, with a line that says how to repeat exactly that
 */
export async function assertCommands<Drawn>(
  property: fc.IAsyncProperty<Drawn>,
  parameters: fc.Parameters<Drawn>,
  repeated: Replay | null = replayOf(),
): Promise<void> {
  const once = repeated === null ? {} : { seed: repeated.seed, path: repeated.path, endOnFailure: true, numRuns: 1 };
  const details = await fc.check(property, { ...parameters, ...once });
  if (!details.failed) return;
  const cause = details.errorInstance;
  const message = `${fc.defaultReportMessage(details)}\n\n${howToRepeat(repeated ?? replayIn(details))}`;
  throw new Error(message, { cause });
}

function replayIn<Drawn>({ seed, counterexample, counterexamplePath: path }: fc.RunDetails<Drawn>): Replay | null {
  // Commands tell it as a comment behind themselves.
  const [, replayPath] = /\/\*replayPath="([^"]+)"\*\//.exec(fc.stringify(counterexample)) ?? [];
  return path === null || replayPath === undefined ? null : { seed, path, replayPath };
}

function howToRepeat(failure: Replay | null): string {
  return failure === null
    ? 'It did not come as far as a counterexample.'
    : `To repeat it: REPLAY='${JSON.stringify(failure)}'`;
}
