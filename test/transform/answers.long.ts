import { testJoined } from './joined.ts'
import { testTransform } from './table.ts'

testTransform('worker')
testJoined('worker')
testJoined('inline')
