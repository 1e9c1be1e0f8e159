import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Files that take half a minute or more, the longest first: whatever begins last would run alone in the end. */
const LONGEST = [
  'f01-f02-kill-at-every-statement',
  'f33-migrate-at-every-statement',
  'f15-every-order',
  'f30-random-sequences',
  'large-news',
  'f29-jackhammer',
  'docs-run',
  'reconciliation/reconciliation',
  'start',
  'simulate',
  'top-ups/charge',
  'f28-racing-debits',
  'f08-half-open',
  'f03-f04-cut-at-every-statement',
  'api-fuzz',
  'provider-sisters',
  'outgoing-senders',
  'dev',
  'cli/lists',
  'cli/commands',
  'cli/program',
];

export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const placeOf = ({ moduleId }: TestSpecification) => {
      const place = LONGEST.findIndex((name) => moduleId.endsWith(`/${name}.test.ts`));
      return place === -1 ? LONGEST.length : place;
    };
    return (await super.sort(files)).toSorted((one, other) => placeOf(one) - placeOf(other));
  }
}
