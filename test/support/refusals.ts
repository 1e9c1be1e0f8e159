import { expect } from 'vitest';
import { publicRefusal } from '../../src/views/refusals.ts';

interface PublicAnswer {
  readonly code?: string;
  readonly message?: unknown;
  readonly details?: unknown;
}

/** Matches the `refusal` of an error that a service throws by what the API would answer: its code, its words, its details. */
export function publicly(answer: PublicAnswer): unknown {
  return {
    $$typeof: Symbol.for('jest.asymmetricMatcher'),
    asymmetricMatch: (refusal: Parameters<typeof publicRefusal>[0]) =>
      expect.objectContaining(answer).asymmetricMatch(publicRefusal(refusal)),
    toString: () => 'publicly',
    getExpectedType: () => 'object',
    toAsymmetricMatcher: () => `publicly ${JSON.stringify(answer)}`,
  };
}
