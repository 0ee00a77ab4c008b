package job

// Prices, in US dollars: AWS's list for us-east-1, arm64, in November 2026, without free tiers.
const (
	priceGBSecond = 0.0000133334
	priceInvoke   = 0.20 / 1e6
	priceMessage  = 0.40 / 1e6 // of SQS
	pricePut      = 0.005 / 1e3
	priceGet      = 0.0004 / 1e3
)

// What a part costs beside the time it takes, where no message and no request is repeated. docs/SCALE.md counts them.
const (
	getsOfAPart     = 7    // four look-ups, one for the shard, two for the merge
	putsOfAPart     = 3    // the shard's upload, the hashes of its ids, the part
	messagesOfAPart = 3    // sent, received, deleted
	keysOfAList     = 1000 // in one answer of S3
)

// dollars is about what parts have cost so far: their time and memory, invocations, messages and requests of S3. paid
// is how many parts were made by workers that are paid for; all is how many parts the job has in the end, which each
// list goes through.
func dollars(gbSeconds float64, paid, all int) float64 {
	lists := (all + keysOfAList - 1) / keysOfAList
	each := priceInvoke + messagesOfAPart*priceMessage + getsOfAPart*priceGet + float64(putsOfAPart+lists)*pricePut
	return gbSeconds*priceGBSecond + float64(paid)*each
}
