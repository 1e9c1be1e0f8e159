import { JsonReporter, type TestCase, type TestModule } from 'vitest/node';

type Thrown = NonNullable<ReturnType<TestCase['result']>['errors']>[number];

/** Vitest's report in JSON, with the causes of errors: `fetch failed` by itself is no help to whoever reads CI's log. */
export class ReporterWithCauses extends JsonReporter {
  override async onTestRunEnd(modules: readonly TestModule[]): Promise<void> {
    for (const file of modules) {
      for (const test of file.children.allTests()) {
        for (const error of test.result().errors ?? []) error.stack = withCauses(error);
      }
    }
    await super.onTestRunEnd(modules);
  }
}

/** A cause may be anything, whatever its type says. */
function withCauses(thrown: Thrown | string): string {
  if (typeof thrown !== 'object') return String(thrown);
  const own = thrown.stack ?? thrown.message;
  return thrown.cause === undefined || thrown.cause === null ? own : `${own}\nCaused by: ${withCauses(thrown.cause)}`;
}
