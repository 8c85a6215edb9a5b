import { Examination } from '../../src/supervisor/doctor/examination.js'
import type { StageReport } from '../../src/supervisor/doctor/report.js'

export const never = new AbortController().signal

/** An examination and all it reports. */
export const examination = () => {
  const reports: StageReport[] = []
  const exam = new Examination((report) => reports.push(report), never)
  const states = () => reports.map(({ stage, state }) => [stage, state])
  const at = (name: string) => reports.find(({ stage }) => stage === name)
  return { exam, reports, states, at }
}
