package job

// Prices, in US dollars: AWS's list for us-east-1, arm64, in November 2026, without free tiers.
const (
	priceGBSecond = 0.0000133334
	priceInvoke   = 0.20 / 1e6
	priceMessage  = 0.40 / 1e6 // of SQS
	pricePut      = 0.005 / 1e3
	priceGet      = 0.0004 / 1e3
)

// What a part costs beside the time it takes, where nothing comes twice; docs/SCALE.md counts them.
const (
	getsOfAPart     = 6 // four to look, one for the shard, one when all are merged
	putsOfAPart     = 2 // the shard's upload, the part
	messagesOfAPart = 3 // sent, received, deleted
	listPage        = 1000
)

// dollars is about what parts cost so far: their time and memory, invocations, messages and requests of S3.
func dollars(gbSeconds float64, paid, of int) float64 {
	lists := (of + listPage - 1) / listPage
	each := priceInvoke + messagesOfAPart*priceMessage + getsOfAPart*priceGet + float64(putsOfAPart+lists)*pricePut
	return gbSeconds*priceGBSecond + float64(paid)*each
}
